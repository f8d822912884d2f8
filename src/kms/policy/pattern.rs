//! Patterns of names: `*` for any letters or none, `?` for one letter.

/// What actions of AWS KMS begin with.
const ACTION_PREFIX: &str = "kms:";

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern as it is written.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether all of `text` is of the pattern; upper and lower case differ.
    pub fn matches(&self, text: &str) -> bool {
        matches(&self.0, text, |one, other| one == other)
    }

    /// Whether `text` is the pattern itself, letter by letter.
    pub fn is(&self, text: &str) -> bool {
        self.0 == text
    }

    /// As [`Pattern::is`], upper and lower case being the same.
    pub fn is_ignoring_case(&self, text: &str) -> bool {
        self.0.to_lowercase() == text.to_lowercase()
    }

    /// Whether it is one of ARNs: all of them, or six parts with colons between them.
    pub fn is_of_arns(&self) -> bool {
        self.0 == "*" || parts(&self.0).is_some_and(|[begin, ..]| begin == "arn")
    }

    /// Whether `text` is an ARN of the pattern, part by part: no `*` stands for a colon but in the last part.
    pub fn matches_arn(&self, text: &str) -> bool {
        let Some(found) = parts(text) else { return false };
        let same = |one, other| one == other;
        match parts(&self.0) {
            None => self.0 == "*",
            Some(wanted) => wanted.iter().zip(found).all(|(wanted, found)| matches(wanted, found, same)),
        }
    }

    /// Whether it names the action `kms:ACTION`; upper and lower case are the same in actions.
    pub fn matches_action(&self, action: &str) -> bool {
        if self.0 == "*" {
            return true;
        }
        let Some(prefix) = self.0.get(..ACTION_PREFIX.len()) else { return false };
        prefix.eq_ignore_ascii_case(ACTION_PREFIX)
            && matches(&self.0[ACTION_PREFIX.len()..], action, |one, other| one.eq_ignore_ascii_case(&other))
    }
}

/// The parts of an ARN; the last one may hold colons.
fn parts(text: &str) -> Option<[&str; 6]> {
    text.splitn(6, ':').collect::<Vec<_>>().try_into().ok()
}

/// Greedy, with one step back: the last `*` takes one letter more whenever what is behind it does not fit. No pattern costs more
/// than the product of the two lengths.
fn matches(pattern: &str, text: &str, same: impl Fn(char, char) -> bool) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // What is behind the last `*`, and the text that it was last tried on.
    let mut last_try = None;
    loop {
        let mut ahead = pattern.clone();
        match (ahead.next(), text.clone().next()) {
            (Some('*'), _) => {
                pattern = ahead;
                last_try = Some((pattern.clone(), text.clone()));
            }
            (Some(wanted), Some(letter)) if wanted == '?' || same(wanted, letter) => {
                pattern = ahead;
                text.next();
            }
            (None, None) => return true,
            (Some(_), None) => return false,
            (Some(_) | None, Some(_)) => {
                let Some((behind, from)) = &mut last_try else { return false };
                from.next();
                (pattern, text) = (behind.clone(), from.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pol_3_stars_and_question_marks_stand_for_letters() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "a", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbcd", false),
            ("a*b*c", "aXbYbZc", true),
            ("*ab", "aab", true),
            ("*ab", "aba", false),
            ("?", "", false),
            ("?", "ä", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("**?", "x", true),
            ("A", "a", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn pol_3_an_action_has_the_services_prefix_and_no_case() {
        let names = |pattern: &str, action: &str| Pattern::new(pattern).matches_action(action);
        assert!(names("kms:*", "Decrypt") && names("*", "Decrypt") && names("KMS:decrypt", "Decrypt"));
        assert!(names("kms:ReEncrypt*", "ReEncryptFrom") && names("kms:?escribe*", "DescribeKey"));
        assert!(!names("kms:Describe*", "Decrypt") && !names("s3:*", "Decrypt") && !names("k*", "Decrypt"));
        assert!(!names("", "Decrypt") && !names("ä:ä", "Decrypt") && !names("kms:", "Decrypt"));
    }

    #[test]
    fn pol_3_an_arn_is_compared_part_by_part() {
        for (pattern, text, expected) in [
            (
                "arn:aws:logs:us-east-1:000000000000:log-group:a",
                "arn:aws:logs:us-east-1:000000000000:log-group:a",
                true,
            ),
            ("arn:aws:logs:*:000000000000:*", "arn:aws:logs:us-east-1:000000000000:log-group:a", true),
            ("arn:aws:logs:*:a", "arn:aws:logs:us-east-1:000000000000:log-group:a", false),
            ("arn:*:a", "arn:aws:logs:us-east-1:000000000000:a", false),
            ("arn:aws:iam::*:user/al?ce", "arn:aws:iam::000000000000:user/alice", true),
            ("arn:aws:iam::*:user/alice", "arn:aws:iam::000000000000:user/Alice", false),
            ("*", "arn:aws:iam::000000000000:root", true),
            ("*", "alice", false),
            ("arn:aws:s3:::b", "b", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches_arn(text), expected, "{pattern} {text}");
        }
        for (pattern, expected) in
            [("*", true), ("arn:a:b:c:d:e:f", true), ("arn:a:b:c:d", false), ("a:b:c:d:e:f", false)]
        {
            assert_eq!(Pattern::new(pattern).is_of_arns(), expected, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_ends_soon() {
        let pattern = "*a".repeat(2000);
        assert!(!Pattern::new(format!("{pattern}b")).matches(&"a".repeat(4000)));
    }
}
