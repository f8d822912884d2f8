//! Reading a request: JSON members into typed values, with AWS's words for what does not fit.
//!
//! A request is parsed once into a structure that can only hold valid values. A member of the wrong type ends it
//! (`SerializationException`); members out of range are all counted (`2 validation errors detected: ...`). What was read
//! is kept for the audit log, except blobs: those may be secret.

mod lists;
mod words;

use std::fmt;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

use super::id::MaterialId;
use super::{AwsError, KmsError};
use crate::clock::Timestamp;
use crate::context::EncryptionContext;
use crate::datakey::MATERIAL_ID_LEN;
pub use words::not_supported;
use words::{lower_camel, mismatch, serialization};

/// Characters of a KeyId in any of its forms.
const KEY_ID_LEN: RangeInclusive<usize> = 1..=2048;
/// Digits of a material id.
const MATERIAL_ID_DIGITS: usize = 2 * MATERIAL_ID_LEN;
/// Blobs whose value AWS's model calls sensitive: it shows nothing of them, not even that there is none.
const SENSITIVE: [&str; 2] = ["Plaintext", "Message"];
/// Bytes of an encryption context as JSON, at most. AWS gives no number; each record has the context whole, so this bounds both.
const CONTEXT_BYTES_MAX: usize = 8192;
/// Bytes of a member that is recorded, at most: what a key policy may have. No request that is carried out has a larger one.
const RECORDED_BYTES_MAX: usize = 32 * 1024;
/// Pairs in an encryption context at most; AWS gives no number but bounds the request, so this bounds it too.
const CONTEXT_PAIRS_MAX: usize = 1024;

/// The members of a request that are still to be read.
#[derive(Default)]
pub struct Fields {
    members: Map<String, Value>,
    /// Whether it is read as AWS reads: what is not known is left out.
    lenient: bool,
    violations: Vec<String>,
    read: Map<String, Value>,
}

impl fmt::Debug for Fields {
    /// Names only: a member may be a plaintext.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.members.keys().chain(self.read.keys())).finish()
    }
}

impl Fields {
    /// Takes a request.
    ///
    /// # Errors
    /// `SerializationException` where it is not a JSON object.
    pub fn new(request: Value) -> Result<Self, KmsError> {
        match request {
            Value::Object(members) => {
                let mut fields = Self::default();
                fields.members = members;
                Ok(fields)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(serialization("a request is a JSON object"))
            }
        }
    }

    /// Reads on as AWS does, for clients that were written for it: members that are not known are left out (those of a newer client, say),
    /// the fraction of a whole number is cut off, and a point in time may be a text of RFC 3339.
    pub fn as_aws_reads(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// `ValidationException` with every violation; `SerializationException` for a member that the operation does not
    /// have, since ignoring a misspelt one would do something else than was asked.
    pub fn finish(&mut self) -> Result<(), KmsError> {
        if !self.lenient
            && let Some(name) = self.members.keys().next()
        {
            return Err(serialization(&format!("Unknown member: {name}")));
        }
        let count = self.violations.len();
        if count == 0 {
            return Ok(());
        }
        let noun = if count == 1 { "error" } else { "errors" };
        let list = self.violations.join("; ");
        Err(KmsError::new(AwsError::Validation, format!("{count} validation {noun} detected: {list}")))
    }

    /// What was read, with AWS's lower-case member names, for the audit log. No blob is in it.
    pub fn take_read(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.read)
    }

    /// A string whose length in characters lies in `len`.
    pub fn text(
        &mut self,
        name: &'static str,
        len: RangeInclusive<usize>,
    ) -> Result<Option<String>, KmsError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let Value::String(text) = value else { return Err(mismatch(&value, "String")) };
        self.keep(name, Value::String(text.clone()));
        self.check_len(name, Some(&text), text.chars().count(), &len);
        Ok(Some(text))
    }

    /// A string that must be there.
    pub fn required_text(
        &mut self,
        name: &'static str,
        len: RangeInclusive<usize>,
    ) -> Result<String, KmsError> {
        let text = self.text(name, len)?;
        Ok(self.required(name, text))
    }

    /// A key id, ARN or alias that must be there.
    pub fn key_id(&mut self, name: &'static str) -> Result<String, KmsError> {
        self.required_text(name, KEY_ID_LEN)
    }

    /// A key id, ARN or alias that may be absent.
    pub fn optional_key_id(&mut self, name: &'static str) -> Result<Option<String>, KmsError> {
        self.text(name, KEY_ID_LEN)
    }

    /// Bytes in base64, `len` of them; wiped when they are dropped.
    pub fn blob(
        &mut self,
        name: &'static str,
        len: RangeInclusive<usize>,
    ) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let bytes = match self.take(name) {
            None => None,
            Some(Value::String(mut text)) => {
                let bytes = BASE64.decode(&text).map(Zeroizing::new);
                text.zeroize();
                Some(bytes.map_err(|_| KmsError::bare(AwsError::Serialization))?)
            }
            Some(other) => return Err(mismatch(&other, "Blob")),
        };
        if let Some(bytes) = &bytes {
            self.check_len(name, None, bytes.len(), &len);
        } else if SENSITIVE.contains(&name) {
            let name = lower_camel(name);
            self.violations
                .push(format!("Value at '{name}' failed to satisfy constraint: Member must not be null"));
            return Ok(Zeroizing::default());
        }
        Ok(self.required(name, bytes))
    }

    /// A whole number in `range`.
    pub fn integer(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, KmsError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let Some(number) = self.whole(&value) else { return Err(mismatch(&value, "Integer")) };
        self.keep(name, Value::from(number));
        let at = lower_camel(name);
        if number < i64::from(*range.start()) {
            let min = range.start();
            self.violations.push(format!(
                "Value '{number}' at '{at}' failed to satisfy constraint: Member must have value greater than or \
                 equal to {min}"
            ));
        } else if number > i64::from(*range.end()) {
            let max = range.end();
            self.violations.push(format!(
                "Value '{number}' at '{at}' failed to satisfy constraint: Member must have value less than or equal \
                 to {max}"
            ));
        }
        Ok(Some(u32::try_from(number).unwrap_or(*range.start())))
    }

    /// A point in time: seconds since 1970, with their fraction. It is kept as the audit log writes times.
    pub fn timestamp(&mut self, name: &'static str) -> Result<Option<Timestamp>, KmsError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let time = match &value {
            // A number beyond what a date can be becomes the farthest one.
            Value::Number(number) => {
                let seconds = number.as_f64().unwrap_or(f64::MAX);
                Some(Timestamp::from_millis((seconds * 1000.0).round() as i64))
            }
            Value::String(text) if self.lenient => Timestamp::parse(text),
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let Some(time) = time else { return Err(mismatch(&value, "Timestamp")) };
        self.keep(name, Value::String(time.to_string()));
        Ok(Some(time))
    }

    /// The id of a backing key: 64 hexadecimal digits.
    pub fn material_id(&mut self, name: &'static str) -> Result<Option<MaterialId>, KmsError> {
        let Some(text) = self.text(name, MATERIAL_ID_DIGITS..=MATERIAL_ID_DIGITS)? else { return Ok(None) };
        let id = MaterialId::parse(&text);
        if id.is_none() && text.len() == MATERIAL_ID_DIGITS {
            self.violates_pattern(name, &text, "^[a-f0-9]+$");
        }
        Ok(id)
    }

    /// A truth value; absent is false.
    pub fn flag(&mut self, name: &'static str) -> Result<bool, KmsError> {
        let Some(value) = self.take(name) else { return Ok(false) };
        let Some(flag) = value.as_bool() else { return Err(mismatch(&value, "Boolean")) };
        self.keep(name, value);
        Ok(flag)
    }

    /// One of `choices`.
    pub fn choice(
        &mut self,
        name: &'static str,
        choices: &'static [&'static str],
    ) -> Result<Option<&'static str>, KmsError> {
        let Some(text) = self.text(name, 0..=usize::MAX)? else { return Ok(None) };
        let choice = choices.iter().copied().find(|choice| *choice == text);
        if choice.is_none() {
            self.violations.push(format!(
                "Value '{text}' at '{}' failed to satisfy constraint: Member must satisfy enum value set: [{}]",
                lower_camel(name),
                choices.join(", ")
            ));
        }
        Ok(choice)
    }

    /// One of `choices`, that must be there.
    pub fn required_choice(
        &mut self,
        name: &'static str,
        choices: &'static [&'static str],
    ) -> Result<&'static str, KmsError> {
        let is_there = self.members.get(name).is_some_and(|value| !value.is_null());
        let choice = self.choice(name, choices)?;
        // A value that is none of them is counted already; what stands in for it is never used.
        if is_there { Ok(choice.unwrap_or_default()) } else { Ok(self.required(name, choice)) }
    }

    /// One of `choices`; where it is absent `default`, which is then kept for the audit log like a value that was given.
    pub fn choice_or(
        &mut self,
        name: &'static str,
        choices: &'static [&'static str],
        default: &'static str,
    ) -> Result<&'static str, KmsError> {
        let choice = self.choice(name, choices)?;
        self.read.entry(lower_camel(name)).or_insert_with(|| Value::from(default));
        Ok(choice.unwrap_or(default))
    }

    /// An encryption context; an absent one is empty.
    pub fn context(&mut self, name: &'static str) -> Result<EncryptionContext, KmsError> {
        let Some(value) = self.take(name) else { return Ok(EncryptionContext::default()) };
        let Value::Object(pairs) = &value else { return Err(mismatch(&value, "Map")) };
        if pairs.len() > CONTEXT_PAIRS_MAX {
            self.violations.push(format!(
                "Value at '{}' failed to satisfy constraint: Member must have length less than or equal to \
                 {CONTEXT_PAIRS_MAX}",
                lower_camel(name)
            ));
        }
        let len = serde_json::to_string(pairs).map_or(usize::MAX, |json| json.len());
        if len > CONTEXT_BYTES_MAX {
            self.violations.push(format!(
                "Value at '{}' failed to satisfy constraint: Member must have length less than or equal to \
                 {CONTEXT_BYTES_MAX} bytes as JSON",
                lower_camel(name)
            ));
        }
        let context = pairs
            .iter()
            .map(|(key, value)| Ok((key, value.as_str().ok_or_else(|| mismatch(value, "String"))?)))
            .collect::<Result<EncryptionContext, KmsError>>()?;
        self.keep(name, value);
        Ok(context)
    }

    /// A member of AWS's that this version does not carry out: refused by name unless it asks for nothing.
    pub fn unsupported(&mut self, name: &'static str) -> Result<(), KmsError> {
        let asks = match self.take(name) {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Array(items)) => !items.is_empty(),
            Some(
                Value::Bool(true) | Value::Number(_) | Value::String(_) | Value::Object(_) | Value::Null,
            ) => true,
        };
        if asks { Err(not_supported(&format!("The parameter {name}"))) } else { Ok(()) }
    }

    /// Counts a violation of a pattern.
    pub fn violates_pattern(&mut self, name: &'static str, value: &str, pattern: &str) {
        self.violations.push(format!(
            "Value '{value}' at '{}' failed to satisfy constraint: Member must satisfy regular expression pattern: \
             {pattern}",
            lower_camel(name)
        ));
    }

    /// The whole number that `value` is.
    fn whole(&self, value: &Value) -> Option<i64> {
        let Value::Number(number) = value else { return None };
        // A number beyond all bounds becomes the farthest one, which is out of every range.
        number.as_i64().or_else(|| self.lenient.then(|| number.as_f64().map(|number| number as i64))?)
    }

    /// Takes a member out; `null` counts as absent.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    /// Keeps a member for the audit log, unless it alone is larger than what is recorded of a request.
    fn keep(&mut self, name: &str, value: Value) {
        let is_small = match &value {
            Value::String(text) => text.len() <= RECORDED_BYTES_MAX,
            Value::Array(_) | Value::Object(_) => {
                serde_json::to_string(&value).is_ok_and(|json| json.len() <= RECORDED_BYTES_MAX)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => true,
        };
        let what = || Value::from("omitted: too large");
        self.read.insert(lower_camel(name), if is_small { value } else { what() });
    }

    /// Counts a violation where `value` is absent; the placeholder is never used, since [`Fields::finish`] fails then.
    pub fn required<T: Default>(&mut self, name: &str, value: Option<T>) -> T {
        value.unwrap_or_else(|| {
            self.violations.push(format!(
                "Value null at '{}' failed to satisfy constraint: Member must not be null",
                lower_camel(name)
            ));
            T::default()
        })
    }

    /// Counts a violation of a length; a blob's value is not shown.
    fn check_len(&mut self, name: &str, shown: Option<&str>, len: usize, range: &RangeInclusive<usize>) {
        let bound = if len < *range.start() {
            format!("greater than or equal to {}", range.start())
        } else if len > *range.end() {
            format!("less than or equal to {}", range.end())
        } else {
            return;
        };
        let value = shown.map(|text| format!("Value '{text}'")).unwrap_or_else(|| "Value".to_owned());
        self.violations.push(format!(
            "{value} at '{}' failed to satisfy constraint: Member must have length {bound}",
            lower_camel(name)
        ));
    }
}

impl Drop for Fields {
    /// What was not read may be a plaintext as well.
    fn drop(&mut self) {
        self.members.values_mut().for_each(wipe);
    }
}

/// Overwrites every text in `value`.
pub fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => (),
    }
}

/// Bytes as JSON carries them.
pub fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

#[cfg(test)]
mod tests;
