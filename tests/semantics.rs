//! `docs/SEMANTICS.md` names the tests that hold it true, paragraph by paragraph, and those tests exist.

use std::fs;
use std::path::Path;

/// What one paragraph says, and the tests that it names as `tests/FILE.rs::NAME`.
struct Paragraph<'a> {
    text: &'a str,
    tests: Vec<(&'a str, &'a str)>,
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The paragraphs behind the first heading of a section; what is before it introduces the page.
fn paragraphs(page: &str) -> Vec<Paragraph<'_>> {
    let (_, sections) = page.split_once("\n## ").expect("the page has sections");
    let (_, body) = sections.split_once("\n\n").expect("a section has paragraphs");
    let blocks =
        body.split("\n\n").map(str::trim).filter(|text| !text.is_empty() && !text.starts_with("## "));
    blocks.map(|text| Paragraph { text, tests: named(text) }).collect()
}

/// The tests that a text names, between backquotes.
fn named(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|word| word.starts_with("tests/")).filter_map(|word| word.split_once("::")).collect()
}

/// Whether a source has a test of this name that runs.
fn has_test(source: &str, name: &str) -> bool {
    let test = format!("#[test]\nfn {name}()");
    source.contains(&test)
}

#[test]
fn every_paragraph_names_a_test_that_exists() {
    let page = read("docs/SEMANTICS.md");
    let paragraphs = paragraphs(&page);
    assert!(paragraphs.len() > 20, "the page is read whole");
    for Paragraph { text, tests } in paragraphs {
        assert!(!tests.is_empty(), "a paragraph names no test:\n{text}");
        for (file, name) in tests {
            assert!(has_test(&read(file), name), "{file} has no test {name}, which this names:\n{text}");
        }
    }
}

#[test]
fn a_paragraph_without_a_test_and_a_test_that_is_not_there_are_found() {
    let page = "# T\n\nIntroduction.\n\n## S\n\nHolds: `tests/a.rs::b`, `tests/c.rs::d`, `e::f`.\n\n## U\n\nHolds not.\n";
    let found = paragraphs(page);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].tests, [("tests/a.rs", "b"), ("tests/c.rs", "d")]);
    assert!(found[1].tests.is_empty());
    let source = "#[test]\nfn is_one() {}\n\nfn is_none() {}\n\n#[test]\n#[ignore]\nfn is_ignored() {}\n";
    assert!(has_test(source, "is_one"));
    assert!(!has_test(source, "is_none") && !has_test(source, "is_ignored") && !has_test(source, "is"));
}
