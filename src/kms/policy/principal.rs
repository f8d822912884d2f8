//! Principals: whom a statement or a grant is about (rule POL-2).

/// A principal as a policy or a grant names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// `*`.
    Anyone,
    /// `arn:aws:iam::ACCOUNT:root`, or the account's 12 digits: every principal of the account.
    Account(String),
    /// One user, role or session, by its ARN.
    One(String),
    /// A service of AWS. None calls here.
    Service,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who<'a> {
    /// A principal of the account, by its ARN.
    Known {
        /// `arn:aws:iam::ACCOUNT:root`, or `...:user/NAME`.
        arn: &'a str,
        /// The account.
        account: &'a str,
    },
    /// Some principal of the account that no policy names.
    Stranger {
        /// The account.
        account: &'a str,
    },
}

impl<'a> Who<'a> {
    /// The account.
    pub const fn account(self) -> &'a str {
        match self {
            Self::Known { account, .. } | Self::Stranger { account } => account,
        }
    }
}

/// Whether `text` is an account.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Principal {
    /// Reads the ARN of a principal; `None` for what none can have. Groups are no principals, and an ARN has no wildcard (AWS:
    /// "one or more invalid principals").
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, service, "", account, resource] = parts[..] else { return None };
        let is_partition = partition == "aws" || partition.starts_with("aws-");
        if !is_partition || !is_account(account) || text.contains(['*', '?']) {
            return None;
        }
        if service == "iam" && resource == "root" {
            return Some(Self::Account(account.to_owned()));
        }
        let kinds = match service {
            "iam" => &["user/", "role/"],
            "sts" => &["assumed-role/", "federated-user/"],
            _ => return None,
        };
        let named = kinds.iter().filter_map(|kind| resource.strip_prefix(kind)).any(|name| !name.is_empty());
        named.then(|| Self::One(text.to_owned()))
    }

    /// Whether `who` is meant.
    pub fn includes(&self, who: Who<'_>) -> bool {
        match self {
            Self::Anyone => true,
            Self::Account(account) => account == who.account(),
            Self::One(arn) => matches!(who, Who::Known { arn: asking, .. } if asking == arn),
            Self::Service => false,
        }
    }

    /// The ARN of a single principal.
    pub fn arn(&self) -> Option<&str> {
        match self {
            Self::One(arn) => Some(arn),
            Self::Anyone | Self::Account(_) | Self::Service => None,
        }
    }
}

/// A principal by its ARN, as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPrincipal {
    text: String,
    principal: Principal,
}

impl NamedPrincipal {
    /// Reads an ARN; `None` as of [`Principal::parse`].
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self { text: text.to_owned(), principal: Principal::parse(text)? })
    }

    /// The ARN as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whom it means.
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Whether `who` is meant.
    pub fn includes(&self, who: Who<'_>) -> bool {
        self.principal.includes(who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pol_2_the_account_means_all_of_its_principals_and_an_arn_one() {
        let account = "000000000000";
        let alice = Who::Known { arn: "arn:aws:iam::000000000000:user/alice", account };
        let owner = Who::Known { arn: "arn:aws:iam::000000000000:root", account };
        let stranger = Who::Stranger { account };
        let means = |text: &str, who| Principal::parse(text).unwrap().includes(who);
        for who in [alice, owner, stranger] {
            assert!(means("arn:aws:iam::000000000000:root", who) && Principal::Anyone.includes(who));
            assert!(!means("arn:aws:iam::111111111111:root", who) && !Principal::Service.includes(who));
        }
        assert!(means("arn:aws:iam::000000000000:user/alice", alice));
        assert!(!means("arn:aws:iam::000000000000:user/alice", owner));
        assert!(!means("arn:aws:iam::000000000000:user/alice", stranger));
        assert!(!means("arn:aws:iam::000000000000:user/Alice", alice));
    }

    #[test]
    fn pol_2_what_can_be_no_principal_is_refused() {
        for wrong in [
            "",
            "alice",
            "*",
            "arn:aws:iam::000000000000:group/staff",
            "arn:aws:iam::000000000000:user/",
            "arn:aws:iam::000000000000:user/*",
            "arn:aws:iam::000000000000:ro?t",
            "arn:aws:iam::0:root",
            "arn:aws:iam:us-east-1:000000000000:root",
            "arn:aws:kms::000000000000:root",
            "arn:gcp:iam::000000000000:root",
            "arn:aws:iam::*:root",
        ] {
            assert_eq!(Principal::parse(wrong), None, "{wrong}");
        }
        for right in ["arn:aws:iam::000000000000:role/a/b", "arn:aws-cn:sts::000000000000:assumed-role/r/s"] {
            assert_eq!(Principal::parse(right), Some(Principal::One(right.to_owned())));
        }
    }
}
