//! The raw configuration: a tree of values that know where they were written, so that each problem
//! can name its file and line however many sources were merged.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::error::ConfigError;

/// A table, its keys as they were written.
pub(super) type Table = BTreeMap<String, Node>;

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
    /// What no key takes.
    Other(&'static str),
}

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// In which of the sources.
    pub source: Source,
    /// On which line of a file, from 1.
    pub line: Option<usize>,
}

/// What the configuration is made of; a later one overrides an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The embedded `config/default.toml`.
    Default,
    /// The user's file.
    File(Arc<Path>),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl Source {
    /// Whether this one as a whole comes after `other`.
    pub(super) fn overrides(&self, other: &Self) -> bool {
        let rank = |source: &Self| match source {
            Self::Default => 0,
            Self::File(_) => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        };
        rank(self) > rank(other)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            // Its lines mean nothing to a user.
            Source::Default => return f.write_str("built-in default"),
            Source::File(path) => write!(f, "{}", path.display())?,
            Source::Environment(name) => write!(f, "environment variable {name}")?,
            Source::Flag(name) => f.write_str(name)?,
        }
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

impl Origin {
    /// Something without lines.
    pub(super) fn new(source: Source) -> Self {
        Self { source, line: None }
    }

    /// Whether values are text for want of anything else.
    pub(super) fn is_environment(&self) -> bool {
        matches!(self.source, Source::Environment(_))
    }
}

impl Node {
    /// A string from a source without lines.
    pub(super) fn text(text: String, source: Source) -> Self {
        Self {
            value: Value::Text(text),
            origin: Origin::new(source),
        }
    }

    /// A table of one entry, for each step of `path`.
    pub(super) fn nested(self, path: &[String]) -> Self {
        path.iter().rev().fold(self, |node, key| {
            let origin = node.origin.clone();
            Self {
                value: Value::Table(Table::from([(key.clone(), node)])),
                origin,
            }
        })
    }

    /// What this is, for "expected ..., found ...".
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Boolean(_) => "a boolean",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }
}

/// Reads TOML; the error is one of syntax.
pub(super) fn parse(text: &str, source: &Source) -> Result<Table, ConfigError> {
    let at = |offset: usize| Origin {
        source: source.clone(),
        line: Some(line_of(text, offset)),
    };
    match DeTable::parse(text) {
        Ok(table) => Ok(convert_table(table.into_inner(), &at)),
        Err(error) => {
            let offset = error.span().map_or(text.len(), |span| span.start);
            // Only the message: the rest would quote the file, where passwords may stand.
            Err(ConfigError::new(
                at(offset),
                String::new(),
                error.message().replace('\n', ", "),
            ))
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    before.split(|byte| *byte == b'\n').count()
}

fn convert_table(table: DeTable<'_>, at: &impl Fn(usize) -> Origin) -> Table {
    let entry = |(key, value): (toml::Spanned<_>, toml::Spanned<_>)| {
        let origin = at(key.span().start);
        let value = convert(value.into_inner(), at);
        (String::from(key.into_inner()), Node { value, origin })
    };
    table.into_iter().map(entry).collect()
}

fn convert(value: DeValue<'_>, at: &impl Fn(usize) -> Origin) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or(Value::Other("an integer that is too large"), Value::Integer),
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Array(items) => {
            let item = |item: toml::Spanned<_>| Node {
                origin: at(item.span().start),
                value: convert(item.into_inner(), at),
            };
            Value::List(items.into_iter().map(item).collect())
        }
        DeValue::Table(table) => Value::Table(convert_table(table, at)),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date or time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_lines() {
        let table = parse(
            "a = 1\n\n[b]\nc = [\n  'x',\n  'y',\n]\nd.e = true\n",
            &Source::Default,
        )
        .unwrap();
        let line = |node: &Node| node.origin.line.unwrap();
        assert_eq!(line(&table["a"]), 1);
        assert_eq!(line(&table["b"]), 3);
        let Value::Table(b) = &table["b"].value else {
            panic!()
        };
        let Value::List(c) = &b["c"].value else {
            panic!()
        };
        assert_eq!(
            (line(&b["c"]), line(&c[0]), line(&c[1]), line(&b["d"])),
            (4, 5, 6, 8)
        );
    }

    #[test]
    fn a_syntax_error_names_its_line_and_quotes_nothing() {
        for (text, line) in [
            ("a = 1\npassword = hunter2\n", 2),
            ("[a]\nb = 1\nb = 2\n", 3),
            ("a = 'hunter2\n", 1),
            ("a = 1\n[a]\n", 2),
        ] {
            let error = parse(text, &Source::File(Path::new("f.toml").into()))
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(&format!("f.toml:{line}: ")), "{error}");
            assert!(
                !error.contains("hunter2") && !error.contains('\n'),
                "{error}"
            );
        }
    }
}
