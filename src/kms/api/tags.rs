//! TagResource, UntagResource, ListResourceTags.

use serde::Serialize;

use super::{Context, Decode, Reply, Request};
use crate::kms::fields::Fields;
use crate::kms::id::KeyId;
use crate::kms::key::TagRecord;
use crate::kms::page::PageRequest;
use crate::kms::reference::Form;
use crate::kms::ring::Change;
use crate::kms::{AwsError, KmsError};

/// Tags that a key may have (AWS KMS quotas).
const TAGS_PER_KEY_MAX: usize = 50;
/// What names that belong to AWS begin with, in upper or lower case.
const RESERVED_PREFIX: &str = "aws:";

/// Tags of a request: each name once, and none that is reserved.
pub(super) fn check(tags: &[(String, String)]) -> Result<(), KmsError> {
    let refused = |why: &str| Err(KmsError::new(AwsError::Tag, why));
    let is_reserved = |tag: &String| {
        tag.get(..RESERVED_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_PREFIX))
    };
    if tags.iter().any(|(tag, _)| is_reserved(tag)) {
        return refused("Tags beginning with aws: are reserved");
    }
    let mut names: Vec<_> = tags.iter().map(|(tag, _)| tag).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return refused("Duplicate tag keys");
    }
    if tags.len() > TAGS_PER_KEY_MAX {
        return refused("Too many tags");
    }
    Ok(())
}

/// What gives `key` these tags.
pub(super) fn put(key: KeyId, tags: &[(String, String)]) -> impl Iterator<Item = Change> {
    tags.iter()
        .map(move |(tag, value)| Change::PutTag(TagRecord { key, tag: tag.clone(), value: value.clone() }))
}

#[derive(Debug)]
pub(super) struct TagResource {
    key_id: String,
    tags: Vec<(String, String)>,
}

impl Decode for TagResource {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let key_id = fields.key_id("KeyId")?;
        let tags = fields.tags()?;
        let tags = fields.required("Tags", tags);
        fields.finish()?;
        check(&tags)?;
        Ok(Self { key_id, tags })
    }
}

impl Request for TagResource {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.key_id, Form::IdOrArn)?;
        let new = self.tags.iter().filter(|(tag, _)| !key.tags.contains_key(tag)).count();
        if key.tags.len() + new > TAGS_PER_KEY_MAX {
            return Err(KmsError::new(AwsError::Tag, "Too many tags"));
        }
        Ok(Reply::change(put(key.record.id, &self.tags).collect()))
    }
}

#[derive(Debug)]
pub(super) struct UntagResource {
    key_id: String,
    tags: Vec<String>,
}

impl Decode for UntagResource {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self { key_id: fields.key_id("KeyId")?, tags: fields.tag_keys()? })
    }
}

impl Request for UntagResource {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.key_id, Form::IdOrArn)?;
        let there = key.tags.keys().filter(|tag| self.tags.contains(tag));
        Ok(Reply::change(there.map(|tag| Change::RemoveTag(key.record.id, tag.clone())).collect()))
    }
}

#[derive(Debug)]
pub(super) struct ListResourceTags {
    key_id: String,
    page: PageRequest,
}

impl Decode for ListResourceTags {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self { key_id: fields.key_id("KeyId")?, page: PageRequest::read(fields, 50, 50)? })
    }
}

impl Request for ListResourceTags {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.key_id, Form::IdOrArn)?;
        let page = self.page.cut("tags", key.tags.iter(), |(tag, _)| (*tag).clone())?;
        let tags = listed(page.items);
        Reply::answer(&TagList { tags, truncated: page.next_marker.is_some(), next_marker: page.next_marker })
    }
}

/// Tags as they are answered.
pub(super) fn listed<'t>(tags: impl IntoIterator<Item = (&'t String, &'t String)>) -> Vec<ListedTag<'t>> {
    tags.into_iter().map(|(tag, value)| ListedTag { tag_key: tag, tag_value: value }).collect()
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TagList<'t> {
    tags: Vec<ListedTag<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedTag<'t> {
    tag_key: &'t str,
    tag_value: &'t str,
}
