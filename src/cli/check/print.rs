//! Prints what was found: text for people, with signs in colour on a terminal, or JSON.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde::Serialize;

use crate::cli::marks::{Mark, Marks};
use crate::upstream::{Finding, Report, Verdict};

/// Prints reports as they come, and counts them.
pub(super) struct Printer {
    form: Form,
    left_out: Vec<String>,
    looked: usize,
    wrong: usize,
    /// The first thing that went wrong with printing.
    failed: io::Result<()>,
}

enum Form {
    Text(Marks),
    /// Kept until all are there.
    Json(Vec<Report>),
}

#[derive(Serialize)]
struct Document {
    ok: bool,
    endpoints: Vec<Report>,
    not_checked: Vec<String>,
}

impl Printer {
    /// A printer to the standard output. `left_out` is what nobody looks at.
    pub(super) fn new(json: bool, left_out: Vec<String>) -> Printer {
        let form = if json {
            Form::Json(Vec::new())
        } else {
            Form::Text(Marks::of_stdout())
        };
        Printer {
            form,
            left_out,
            looked: 0,
            wrong: 0,
            failed: Ok(()),
        }
    }

    pub(super) fn report(&mut self, report: Report) {
        self.looked += 1;
        self.wrong += usize::from(report.is_wrong());
        match &mut self.form {
            Form::Json(reports) => reports.push(report),
            Form::Text(marks) => {
                let text = text(&report, *marks);
                self.print(&text);
            }
        }
    }

    /// Says what it comes to; whether all is well.
    pub(super) fn finish(mut self) -> io::Result<bool> {
        let ok = self.wrong == 0;
        let left_out = std::mem::take(&mut self.left_out);
        let text = match &mut self.form {
            Form::Json(reports) => {
                let document = Document {
                    ok,
                    endpoints: std::mem::take(reports),
                    not_checked: left_out,
                };
                let mut text = serde_json::to_string_pretty(&document)?;
                text.push('\n');
                text
            }
            Form::Text(_) => summary(self.looked, self.wrong, &left_out),
        };
        self.print(&text);
        self.failed.map(|()| ok)
    }

    fn print(&mut self, text: &str) {
        if self.failed.is_ok() {
            let mut out = io::stdout().lock();
            self.failed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }
}

fn text(report: &Report, marks: Marks) -> String {
    let mut text = format!(
        "{} at {}, by [upstreams.{}]\n",
        report.registry,
        report.endpoint,
        key(&report.table)
    );
    for finding in &report.findings {
        let Finding {
            step,
            verdict,
            seen,
            change,
        } = finding;
        let (mark, pad) = marks.of((*verdict).into());
        let _ = writeln!(text, "  {mark}  {:<8}  {seen}", step.as_str());
        if let Some(change) = change {
            let _ = writeln!(text, "  {:pad$}  {:<8}  {change}", "", "change");
        }
    }
    text.push('\n');
    text
}

/// As it is written in a table's header.
fn key(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if key.bytes().all(bare) {
        key.to_owned()
    } else {
        format!("\"{key}\"")
    }
}

impl From<Verdict> for Mark {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Good => Self::Good,
            Verdict::Note => Self::Note,
            Verdict::Wrong => Self::Wrong,
        }
    }
}

fn summary(looked: usize, wrong: usize, left_out: &[String]) -> String {
    let mut text = String::new();
    if !left_out.is_empty() {
        let _ = write!(
            text,
            "not checked, since each stands for many registries: {}\n\
             name one to check it: forebay check --online 123456789012.dkr.ecr.eu-west-1.amazonaws.com\n\n",
            left_out.join(", ")
        );
    }
    let _ = match (looked, wrong) {
        (0, _) => writeln!(text, "there is nothing to check"),
        (1, 0) => writeln!(text, "it can be pulled from"),
        (_, 0) => writeln!(text, "all {looked} endpoints can be pulled from"),
        _ => writeln!(text, "{wrong} of {looked} endpoints can't be pulled from"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Step;

    fn report() -> Report {
        let finding = |step, verdict, seen: &str, change: Option<&str>| Finding {
            step,
            verdict,
            seen: seen.to_owned(),
            change: change.map(str::to_owned),
        };
        Report {
            registry: "ghcr.io".parse().unwrap(),
            table: "ghcr.io".to_owned(),
            endpoint: "https://ghcr.io".to_owned(),
            findings: vec![
                finding(Step::Name, Verdict::Good, "ghcr.io is 192.0.2.1", None),
                finding(Step::Clock, Verdict::Note, "off", Some("set it")),
                finding(Step::Registry, Verdict::Wrong, "refused", Some("open it")),
            ],
        }
    }

    #[test]
    fn marks_are_aligned_with_what_is_to_be_changed() {
        let header = "ghcr.io at https://ghcr.io, by [upstreams.\"ghcr.io\"]\n";
        let words = "  ok    name      ghcr.io is 192.0.2.1\n  \
                       note  clock     off\n        change    set it\n  \
                       FAIL  registry  refused\n        change    open it\n\n";
        assert_eq!(text(&report(), Marks::Words), format!("{header}{words}"));
        let signs = "  ✓  name      ghcr.io is 192.0.2.1\n  \
                       !  clock     off\n     change    set it\n  \
                       ✗  registry  refused\n     change    open it\n\n";
        let plain = Marks::Signs { colour: false };
        assert_eq!(text(&report(), plain), format!("{header}{signs}"));
        let coloured = text(&report(), Marks::Signs { colour: true });
        assert!(coloured.contains("\x1b[31m✗\x1b[0m  registry  refused"));
    }

    #[test]
    fn families_are_written_as_in_the_configuration() {
        assert_eq!(key("ecr"), "ecr");
        assert_eq!(key("*.pkg.dev"), "\"*.pkg.dev\"");
        let all = summary(2, 1, &["*.pkg.dev".to_owned(), "ecr".to_owned()]);
        assert!(
            all.contains("*.pkg.dev, ecr\n")
                && all.ends_with("1 of 2 endpoints can't be pulled from\n")
        );
        assert_eq!(summary(1, 0, &[]), "it can be pulled from\n");
    }
}
