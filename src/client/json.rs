//! Small changes to a JSON object's text that leave every other byte alone: order, numbers, spaces.
//!
//! `serde_json` does the parsing, and so decides what JSON is; where each part stands follows from the slices it hands out.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

/// A member of an object, and where it stands.
struct Member {
    name: String,
    key: Range<usize>,
    value: Range<usize>,
}

/// Why a text can't be changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JsonError {
    /// It isn't JSON; says where.
    Syntax(String),
    /// It's JSON, but no object.
    NotAnObject,
    /// A member is there twice.
    Twice(String),
    /// A member is no list of strings.
    NotStrings(String),
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        Self::Syntax(error.to_string())
    }
}

/// The strings of a list that is a member; `None` where there is no such member, or it is null.
pub(super) fn list(text: &str, name: &str) -> Result<Option<Vec<String>>, JsonError> {
    let members = members(text)?;
    let Some(member) = find(&members, name)? else {
        return Ok(None);
    };
    let value = &text[member.value.clone()];
    serde_json::from_str(value).map_err(|_| JsonError::NotStrings(name.into()))
}

/// Puts a string before all others of a list, which is made where it is missing.
pub(super) fn prepend(text: &str, name: &str, item: &str) -> Result<String, JsonError> {
    let members = members(text)?;
    let item = quoted(item);
    let Some(member) = find(&members, name)? else {
        return Ok(append_member(
            text,
            &members,
            &format!("{}: [{item}]", quoted(name)),
        ));
    };
    let Some(items) = items(text, member)? else {
        return Ok(splice(text, member.value.clone(), &format!("[{item}]")));
    };
    let Some(first) = items.first() else {
        return Ok(splice(text, member.value.clone(), &format!("[{item}]")));
    };
    let lead = &text[member.value.start + 1..first.start];
    let gap = if lead.contains('\n') { lead } else { " " };
    Ok(splice(
        text,
        first.start..first.start,
        &format!("{item},{gap}"),
    ))
}

/// Takes the item at `index` out of a list that has it.
pub(super) fn remove_item(text: &str, name: &str, index: usize) -> Result<String, JsonError> {
    let members = members(text)?;
    let missing = || JsonError::NotStrings(name.into());
    let member = find(&members, name)?.ok_or_else(missing)?;
    let items = items(text, member)?.ok_or_else(missing)?;
    let item = items.get(index).ok_or_else(missing)?;
    let range = match (
        index.checked_sub(1).and_then(|i| items.get(i)),
        items.get(index + 1),
    ) {
        (_, Some(next)) => item.start..next.start,
        (Some(previous), None) => previous.end..item.end,
        (None, None) => member.value.start + 1..member.value.end - 1,
    };
    Ok(splice(text, range, ""))
}

/// Takes a member out of an object that has it.
pub(super) fn remove_member(text: &str, name: &str) -> Result<String, JsonError> {
    let members = members(text)?;
    let index = members.iter().position(|member| member.name == name);
    let Some(index) = index else {
        return Ok(text.into());
    };
    let previous = index.checked_sub(1).and_then(|i| members.get(i));
    let range = match (previous, members.get(index + 1)) {
        (_, Some(next)) => members[index].key.start..next.key.start,
        (Some(previous), None) => previous.value.end..members[index].value.end,
        (None, None) => inside(text),
    };
    Ok(splice(text, range, ""))
}

/// Whether the object has no members.
pub(super) fn is_empty(text: &str) -> Result<bool, JsonError> {
    members(text).map(|members| members.is_empty())
}

fn append_member(text: &str, members: &[Member], member: &str) -> String {
    let Some(last) = members.last() else {
        return splice(text, inside(text), &format!("\n  {member}\n"));
    };
    let before = &text[..last.key.start];
    let lead = &before[before.trim_end().len()..];
    let gap = if lead.is_empty() { " " } else { lead };
    splice(
        text,
        last.value.end..last.value.end,
        &format!(",{gap}{member}"),
    )
}

/// What is between the braces of a text that is an object.
fn inside(text: &str) -> Range<usize> {
    let open = text.find('{').map_or(0, |at| at + 1);
    open..text.rfind('}').unwrap_or(open)
}

fn splice(text: &str, range: Range<usize>, with: &str) -> String {
    format!("{}{with}{}", &text[..range.start], &text[range.end..])
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn find<'a>(members: &'a [Member], name: &str) -> Result<Option<&'a Member>, JsonError> {
    let mut found = members.iter().filter(|member| member.name == name);
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(JsonError::Twice(name.into())),
        (found, None) => Ok(found),
    }
}

/// Where the items of a list of strings stand; `None` for null.
fn items(text: &str, member: &Member) -> Result<Option<Vec<Range<usize>>>, JsonError> {
    let refused = |_| JsonError::NotStrings(member.name.clone());
    let value = &text[member.value.clone()];
    let strings: Option<Vec<String>> = serde_json::from_str(value).map_err(refused)?;
    let items: Option<Vec<&RawValue>> = serde_json::from_str(value).map_err(refused)?;
    Ok(strings.and(items).map(|items| {
        let place = |item: &RawValue| place(text, item.get());
        items.into_iter().map(place).collect()
    }))
}

fn members(text: &str) -> Result<Vec<Member>, JsonError> {
    let _: serde::de::IgnoredAny = serde_json::from_str(text)?;
    if !text.trim_start().starts_with('{') {
        return Err(JsonError::NotAnObject);
    }
    let mut deserializer = Deserializer::from_str(text);
    let raw = deserializer.deserialize_map(Members)?;
    raw.into_iter()
        .map(|(key, value)| {
            Ok(Member {
                name: serde_json::from_str(key.get())?,
                key: place(text, key.get()),
                value: place(text, value.get()),
            })
        })
        .collect()
}

/// Where a slice of a text stands in it.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}

/// Collects an object's members as they are written.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(&'de RawValue, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}
