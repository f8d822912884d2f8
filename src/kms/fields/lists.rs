//! Members of a request that hold lists and structures: grant tokens, operations and constraints of grants, tags.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::{Fields, lower_camel, mismatch, not_supported, serialization};
use crate::context::EncryptionContext;
use crate::kms::grant::{self, Constraints};
use crate::kms::{AwsError, KmsError};

/// Grant tokens in a request (service model).
const TOKENS_MAX: usize = 10;
/// Pairs of a constraint, and letters of a value of one (AWS KMS API, GrantConstraints).
const CONSTRAINT_PAIRS_MAX: usize = 8;
const CONSTRAINT_VALUE_MAX: usize = 384;
const TAG_KEY_LEN: RangeInclusive<usize> = 1..=128;
const TAG_VALUE_LEN: RangeInclusive<usize> = 0..=256;

impl Fields {
    /// A list of texts; absent is `None`.
    pub fn texts(&mut self, name: &'static str) -> Result<Option<Vec<String>>, KmsError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let Value::Array(items) = &value else { return Err(mismatch(&value, "List")) };
        let texts = items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| mismatch(item, "String")))
            .collect::<Result<_, KmsError>>()?;
        self.keep(name, value);
        Ok(Some(texts))
    }

    /// A list of some of `choices`, which must be there.
    pub fn choices(
        &mut self,
        name: &'static str,
        choices: &'static [&'static str],
    ) -> Result<Vec<&'static str>, KmsError> {
        let texts = self.texts(name)?;
        let texts = self.required(name, texts);
        let found = |text: &String| choices.iter().copied().find(|choice| choice == text);
        if texts.iter().any(|text| found(text).is_none()) {
            self.violations.push(format!(
                "Value '[{}]' at '{}' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy \
                 enum value set: [{}]]",
                texts.join(", "),
                lower_camel(name),
                choices.join(", ")
            ));
        }
        Ok(texts.iter().filter_map(found).collect())
    }

    /// Grant tokens. A grant is in force without them, so that they are only looked at.
    pub fn grant_tokens(&mut self) -> Result<(), KmsError> {
        let tokens = self.texts("GrantTokens")?.unwrap_or_default();
        if tokens.len() > TOKENS_MAX {
            self.violations.push(format!(
                "Value at 'grantTokens' failed to satisfy constraint: Member must have length less than or equal to \
                 {TOKENS_MAX}"
            ));
        }
        if tokens.iter().any(|token| grant::named_by(token).is_none()) {
            return Err(KmsError::new(AwsError::InvalidGrantToken, "The grant token is not valid."));
        }
        Ok(())
    }

    /// The constraints of a grant; absent ones are empty.
    pub fn constraints(&mut self, name: &'static str) -> Result<Constraints, KmsError> {
        let Some(value) = self.take(name) else { return Ok(Constraints::default()) };
        let Value::Object(members) = &value else { return Err(mismatch(&value, "Structure")) };
        let mut constraints = Constraints::default();
        for (member, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            match member.as_str() {
                "EncryptionContextEquals" => constraints.equals = Some(self.constraint(value)?),
                "EncryptionContextSubset" => constraints.subset = Some(self.constraint(value)?),
                "SourceArn" => return Err(not_supported("The grant constraint SourceArn")),
                _ if self.lenient => (),
                _ => return Err(serialization(&format!("Unknown member: {name}.{member}"))),
            }
        }
        self.keep(name, value);
        Ok(constraints)
    }

    fn constraint(&mut self, value: &Value) -> Result<EncryptionContext, KmsError> {
        let Value::Object(pairs) = value else { return Err(mismatch(value, "Map")) };
        let pair = |(name, value): (&String, &Value)| match value.as_str() {
            Some(text) => Ok((name.clone(), text.to_owned())),
            None => Err(mismatch(value, "String")),
        };
        let context: EncryptionContext = pairs.iter().map(pair).collect::<Result<_, KmsError>>()?;
        let is_long = context.pairs().any(|(_, value)| value.chars().count() > CONSTRAINT_VALUE_MAX);
        if pairs.len() > CONSTRAINT_PAIRS_MAX || is_long {
            return Err(KmsError::new(
                AwsError::Validation,
                format!(
                    "An encryption context constraint has up to {CONSTRAINT_PAIRS_MAX} pairs, with values of up to \
                     {CONSTRAINT_VALUE_MAX} characters."
                ),
            ));
        }
        Ok(context)
    }

    /// Tags: names and values. Absent is `None`.
    pub fn tags(&mut self) -> Result<Option<Vec<(String, String)>>, KmsError> {
        let Some(value) = self.take("Tags") else { return Ok(None) };
        let Value::Array(items) = &value else { return Err(mismatch(&value, "List")) };
        let mut tags = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let Value::Object(members) = item else { return Err(mismatch(item, "Structure")) };
            let is_known = |member: &String| ["TagKey", "TagValue"].contains(&member.as_str());
            if let Some(member) = members.keys().find(|member| !self.lenient && !is_known(member)) {
                return Err(serialization(&format!("Unknown member: {member}")));
            }
            let mut text =
                |member: &str, len| self.text_of(members, member, &format!("tags.{}.member", at + 1), len);
            tags.push((text("TagKey", TAG_KEY_LEN)?, text("TagValue", TAG_VALUE_LEN)?));
        }
        self.keep("Tags", value);
        Ok(Some(tags))
    }

    /// The names of tags, which must be there.
    pub fn tag_keys(&mut self) -> Result<Vec<String>, KmsError> {
        let keys = self.texts("TagKeys")?;
        let keys = self.required("TagKeys", keys);
        for (at, key) in keys.iter().enumerate() {
            self.check_len(
                &format!("tagKeys.{}.member", at + 1),
                Some(key),
                key.chars().count(),
                &TAG_KEY_LEN,
            );
        }
        Ok(keys)
    }

    fn text_of(
        &mut self,
        members: &Map<String, Value>,
        member: &str,
        place: &str,
        len: RangeInclusive<usize>,
    ) -> Result<String, KmsError> {
        let place = format!("{place}.{}", lower_camel(member));
        match members.get(member).filter(|value| !value.is_null()) {
            None => Ok(self.required(&place, None)),
            Some(Value::String(text)) => {
                self.check_len(&place, Some(text), text.chars().count(), &len);
                Ok(text.clone())
            }
            Some(other) => Err(mismatch(other, "String")),
        }
    }
}
