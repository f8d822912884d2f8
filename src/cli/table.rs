//! Tables for people.

/// Rows of as many cells each as lines, with columns as wide as their widest cell. Paths and commands in them are whatever somebody made
/// them: what would move a terminal's cursor is a question mark.
pub fn table<R: AsRef<[String]>>(rows: &[R]) -> String {
    let harmless = |cell: &String| cell.replace(char::is_control, "?");
    let rows: Vec<Vec<_>> = rows.iter().map(|row| row.as_ref().iter().map(harmless).collect()).collect();
    let columns = rows.first().map_or(0, |row| row.len());
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<_> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:0$}", *width)).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
