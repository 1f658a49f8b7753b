//! Reads tables key by key and collects every problem on the way, unknown keys included.
//!
//! A key is known because something asked for it, so the list of known keys cannot differ from what
//! the program reads.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::error::ConfigError;
use super::merge::{header, join};
use super::suggest::instead_of;
use super::tree::{Node, Origin, Source, Table, Value};

/// Stands where a value would, when what is wrong with it has been recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reported;

/// What was found while reading.
#[derive(Default)]
pub(super) struct Report {
    errors: RefCell<Vec<ConfigError>>,
    unknown: RefCell<Vec<Unknown>>,
    known: RefCell<BTreeSet<String>>,
}

/// A key that nothing asked for. What to write instead is found once every known key is known.
struct Unknown {
    origin: Origin,
    path: String,
    schema: String,
}

impl Report {
    pub(super) fn new(errors: Vec<ConfigError>) -> Self {
        Self {
            errors: RefCell::new(errors),
            ..Self::default()
        }
    }

    /// Everything that is wrong.
    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        let known = self.known.into_inner();
        let mut errors = self.errors.into_inner();
        errors.extend(self.unknown.into_inner().into_iter().map(|unknown| {
            let message = format!(
                "unknown key: {}",
                instead_of(&unknown.schema, &unknown.origin, &known)
            );
            ConfigError::new(unknown.origin, unknown.path, message)
        }));
        errors
    }

    /// Every key that was asked for, with `*` for the names of upstreams.
    #[cfg(test)]
    pub(super) fn known(&self) -> BTreeSet<String> {
        self.known.borrow().clone()
    }

    fn push(&self, origin: Origin, path: String, message: String) -> Reported {
        self.errors
            .borrow_mut()
            .push(ConfigError::new(origin, path, message));
        Reported
    }
}

/// One table while it is read.
pub(super) struct Section<'a> {
    report: &'a Report,
    table: Option<&'a Table>,
    origin: Origin,
    path: String,
    /// The path with `*` for the names of upstreams.
    schema: String,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Section<'a> {
    /// The whole configuration.
    pub(super) fn root(table: &'a Table, report: &'a Report) -> Self {
        Self::new(
            report,
            Some(table),
            Origin::new(Source::Default),
            String::new(),
            String::new(),
        )
    }

    fn new(
        report: &'a Report,
        table: Option<&'a Table>,
        origin: Origin,
        path: String,
        schema: String,
    ) -> Self {
        Self {
            report,
            table,
            origin,
            path,
            schema,
            asked: RefCell::default(),
        }
    }

    fn get(&self, key: &str) -> Option<&'a Node> {
        self.asked.borrow_mut().insert(key.into());
        self.report
            .known
            .borrow_mut()
            .insert(schema_of(&self.schema, key));
        self.table?.get(key)
    }

    /// A key that the embedded default sets.
    pub(super) fn required<T>(
        &self,
        key: &str,
        read: impl Fn(&Node) -> Result<T, String>,
    ) -> Result<T, Reported> {
        self.optional(key, read)?
            .ok_or_else(|| self.complain(key, "this is not set".into()))
    }

    /// A key that need not be set.
    pub(super) fn optional<T>(
        &self,
        key: &str,
        read: impl Fn(&Node) -> Result<T, String>,
    ) -> Result<Option<T>, Reported> {
        let read = |node| read(node).map_err(|message| self.complain(key, message));
        self.get(key).map(read).transpose()
    }

    /// A list, each of whose items is read by itself; empty where it is not set.
    pub(super) fn list<T>(
        &self,
        key: &str,
        read: impl Fn(&Node) -> Result<T, String>,
    ) -> Result<Vec<T>, Reported> {
        let Some(node) = self.get(key) else {
            return Ok(Vec::new());
        };
        let items = list_items(node).map_err(|message| self.complain(key, message))?;
        let mut values = Vec::with_capacity(items.len());
        let mut reported = None;
        for item in &items {
            match read(item) {
                Ok(value) => values.push(value),
                Err(message) => {
                    let (origin, path) = (item.origin.clone(), join(&self.path, key));
                    reported = Some(self.report.push(origin, path, message));
                }
            }
        }
        reported.map_or(Ok(values), Err)
    }

    /// A table within this one; one that is not there reads as empty.
    pub(super) fn table(&self, key: &str) -> Self {
        self.subsection(key, self.get(key), schema_of(&self.schema, key))
    }

    /// A table of a list in which there is none.
    pub(super) fn absent(&self, key: &str) -> Self {
        self.subsection(key, None, schema_of(&self.schema, key))
    }

    /// The tables of a list; what is no list, or no table in it, is reported.
    pub(super) fn tables(&self, key: &str) -> Result<Vec<Self>, Reported> {
        let schema = schema_of(&self.schema, key);
        let items = match self.get(key).map(|node| &node.value) {
            None => return Ok(Vec::new()),
            Some(Value::List(items)) => items,
            Some(_) => {
                let path = join(&self.path, key);
                let message =
                    format!("this is a list of tables: write [[{path}]] in a file for each");
                return Err(self.complain(key, message));
            }
        };
        let mut tables = Vec::with_capacity(items.len());
        for (number, item) in items.iter().enumerate() {
            let path = format!("{}[{number}]", join(&self.path, key));
            let Value::Table(table) = &item.value else {
                let message = format!("expected a table, found {}", item.kind());
                return Err(self.report.push(item.origin.clone(), path, message));
            };
            let (report, origin) = (self.report, item.origin.clone());
            tables.push(Self::new(report, Some(table), origin, path, schema.clone()));
        }
        Ok(tables)
    }

    /// The tables within this one whose keys are names; what is no table is reported.
    pub(super) fn named_tables(&self) -> Vec<(&'a str, Self)> {
        let schema = schema_of(&self.schema, "*");
        let tables = self.table.into_iter().flatten();
        tables
            .map(|(key, node)| {
                self.asked.borrow_mut().insert(key.clone());
                (
                    key.as_str(),
                    self.subsection(key, Some(node), schema.clone()),
                )
            })
            .collect()
    }

    /// The header that was meant where a name was written without its quotes.
    fn unquoted(&self, key: &str, node: &Node) -> Option<String> {
        let parent = self.schema.strip_suffix(".*")?;
        let name = self.path.strip_prefix(parent)?.strip_prefix('.')?;
        let whole = dotted(name, key, node).filter(|_| !name.starts_with('"'))?;
        Some(join(parent, &whole))
    }

    fn subsection(&self, key: &str, node: Option<&'a Node>, schema: String) -> Self {
        let path = join(&self.path, key);
        let table = match node.map(|node| &node.value) {
            Some(Value::Table(table)) => Some(table),
            Some(_) => {
                self.complain(key, format!("this is a table: write {}", header(&path)));
                None
            }
            None => None,
        };
        let origin = node.map_or_else(|| self.origin.clone(), |node| node.origin.clone());
        Self::new(self.report, table, origin, path, schema)
    }

    /// Where a key was written, or else its table.
    pub(super) fn origin(&self, key: &str) -> &Origin {
        let node = self.table.and_then(|table| table.get(key));
        node.map_or(&self.origin, |node| &node.origin)
    }

    /// Whether a key is set.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// How many keys are set.
    pub(super) fn len(&self) -> usize {
        self.table.map_or(0, Table::len)
    }

    /// Records what is wrong with a key.
    pub(super) fn complain(&self, key: &str, message: String) -> Reported {
        self.report
            .push(self.origin(key).clone(), join(&self.path, key), message)
    }

    /// Records what is wrong with the table as a whole.
    pub(super) fn complain_of_all(&self, message: String) -> Reported {
        self.report
            .push(self.origin.clone(), self.path.clone(), message)
    }

    /// Ends the table: whatever was not asked for is unknown.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, node) in self.table.into_iter().flatten() {
            if asked.contains(key) {
                continue;
            }
            if let Some(header) = self.unquoted(key, node) {
                let message = format!("a name with dots stands in quotes: write [{header}]");
                self.complain(key, message);
            } else {
                self.report.unknown.borrow_mut().push(Unknown {
                    origin: node.origin.clone(),
                    path: join(&self.path, key),
                    schema: schema_of(&self.schema, key),
                });
            }
        }
    }
}

/// A name in a table's header whose dots have made tables of its parts, as in `[upstreams.docker.io]`.
fn dotted(name: &str, key: &str, node: &Node) -> Option<String> {
    let Value::Table(table) = &node.value else {
        return None;
    };
    let name = format!("{name}.{key}");
    let mut below = table.iter().map(|(key, node)| dotted(&name, key, node));
    let deeper = below.next().flatten();
    Some(deeper.filter(|_| table.len() == 1).unwrap_or(name))
}

fn schema_of(schema: &str, key: &str) -> String {
    if schema.is_empty() {
        key.into()
    } else {
        format!("{schema}.{key}")
    }
}

/// The items of a list; a variable's are divided by commas.
fn list_items(node: &Node) -> Result<Vec<Node>, String> {
    match &node.value {
        Value::List(items) => Ok(items.clone()),
        Value::Text(text) if node.origin.is_environment() => {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            Ok(items
                .map(|item| Node::text(item.into(), node.origin.source.clone()))
                .collect())
        }
        _ => Err(format!(
            "expected a list, found {}: write it in brackets, such as [\"...\"]",
            node.kind()
        )),
    }
}
