//! The name that somebody meant.

/// Of the names that are `known`, the one that reads almost like what was given; none where nothing does. Upper and lower case are one.
pub fn nearest<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let given: Vec<char> = given.to_ascii_lowercase().chars().take(LONGEST).collect();
    let told = known.into_iter().map(|name| {
        let letters: Vec<char> = name.to_ascii_lowercase().chars().collect();
        (distance(&given, &letters), name)
    });
    let (steps, name) = told.min_by_key(|(steps, _)| *steps)?;
    (steps <= given.len().div_ceil(3)).then_some(name)
}

/// A hint, and what was meant where something known reads almost like it.
pub fn with_nearest<'k>(hint: &str, given: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    match nearest(given, known) {
        Some(name) => format!("{hint}; did you mean {name}?"),
        None => hint.to_owned(),
    }
}

/// Nobody misspells a longer name by a letter or two.
const LONGEST: usize = 100;

/// How many letters must be left out, put in, replaced, or exchanged with the next one ("optimal string alignment").
fn distance(one: &[char], other: &[char]) -> usize {
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for (i, letter) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, against) in other.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(letter != against);
            let mut least = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *letter == other[j - 1] && one[i - 1] == *against {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_too_few_too_many_wrong_or_exchanged_is_a_step() {
        let steps = |one: &str, other: &str| {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            distance(&letters(one), &letters(other))
        };
        for (other, expected) in
            [("decrypt", 0), ("decypt", 1), ("deccrypt", 1), ("dekrypt", 1), ("decrytp", 1), ("", 7)]
        {
            assert_eq!(steps("decrypt", other), expected, "{other}");
            assert_eq!(steps(other, "decrypt"), expected, "{other}");
        }
    }

    #[test]
    fn what_reads_almost_like_a_name_is_it_and_what_reads_like_none_is_none() {
        let known = ["Decrypt", "DescribeKey", "DisableKey", "EnableKey"];
        assert_eq!(nearest("decrytp", known), Some("Decrypt"));
        assert_eq!(nearest("DisabelKey", known), Some("DisableKey"));
        assert_eq!(nearest("Rotate", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest("x", []), None);
        assert_eq!(with_nearest("see", "decrypd", known), "see; did you mean Decrypt?");
        assert_eq!(with_nearest("see", "nothing", known), "see");
    }
}
