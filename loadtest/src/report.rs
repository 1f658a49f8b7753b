//! What a run found out, as plain data: tables on a terminal, one page for a browser, JSON through `serde`.
//!
//! `unit` writes numbers for people, `text` is the terminal, `html` the page, `plot` its pictures, and `scale` where a value
//! is in them. Nothing here measures, or knows what is reported.

mod html;
mod plot;
mod scale;
mod text;
mod unit;

use std::fmt::Write as _;

use serde::Serialize;

pub use self::unit::Unit;

/// All that a run found out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// What it is a report of.
    pub title: String,
    /// What it was found out with and about: versions, settings, the machine. A name and a value each.
    pub about: Vec<(String, String)>,
    /// One after the other.
    pub sections: Vec<Section>,
}

/// One subject.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// A paragraph each.
    pub text: Vec<String>,
    /// After the text, as they are written: settings, say, each with its caption.
    pub listings: Vec<(String, String)>,
    /// After the listings.
    pub tables: Vec<Table>,
    /// After the tables; on a page alone.
    pub plots: Vec<Plot>,
}

/// Rows of cells.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// What it shows; may be empty.
    pub caption: String,
    /// What each column is.
    pub head: Vec<String>,
    /// As many cells each as the head has.
    pub rows: Vec<Vec<String>>,
}

/// A picture of series over one pair of axes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// Each in a colour of its own.
    pub series: Vec<Series>,
    /// How they are drawn.
    pub kind: PlotKind,
}

/// How a plot's points are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlotKind {
    /// Straight from point to point.
    #[default]
    Lines,
    /// Each value holds until the next point.
    Steps,
    /// From zero; those of one x beside each other.
    Bars,
}

/// What is along one side of a plot.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Axis {
    /// What it is.
    pub label: String,
    /// What it is counted in.
    pub unit: Unit,
    /// By powers of ten. What is not above zero is left out then.
    pub log: bool,
}

/// Points that belong together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Series {
    /// What they are of.
    pub name: String,
    /// x and y, ordered by x.
    pub points: Vec<(f64, f64)>,
}

impl Report {
    /// A report of nothing yet.
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            ..Self::default()
        }
    }

    /// Adds to what it is about.
    pub fn about(&mut self, name: &str, value: impl Into<String>) {
        self.about.push((name.to_owned(), value.into()));
    }

    /// One page that needs nothing else: neither a network nor scripts.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// Writes it to the terminal, all but the plots.
    pub fn print(&self) {
        print!("{}", text::report(self));
    }
}

impl Section {
    /// A section with a heading alone.
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            ..Self::default()
        }
    }

    /// As text for a terminal, as [`Report::print`] writes it.
    pub fn to_text(&self) -> String {
        text::section(self)
    }
}

impl Table {
    /// A table without rows.
    pub fn new(caption: &str, head: &[&str]) -> Self {
        Self {
            caption: caption.to_owned(),
            head: head.iter().map(|&cell| cell.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

impl Plot {
    /// A plot of lines without any yet.
    pub fn new(title: &str, x: Axis, y: Axis) -> Self {
        Self {
            title: title.to_owned(),
            x,
            y,
            series: Vec::new(),
            kind: PlotKind::default(),
        }
    }
}

impl Axis {
    /// An axis that begins at zero.
    pub fn new(label: &str, unit: Unit) -> Self {
        Self {
            label: label.to_owned(),
            unit,
            log: false,
        }
    }

    /// The same by powers of ten.
    #[must_use]
    pub fn by_powers(mut self) -> Self {
        self.log = true;
        self
    }
}

/// Writes to a string, which takes every write.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes every write");
}
