//! A report on a terminal: tables as wide as what is in them.

use super::{Report, Section, Table, put};

pub(super) fn report(report: &Report) -> String {
    let mut out = format!("{}\n", heading(&report.title, '='));
    let widest = report.about.iter().map(|(name, _)| width(name)).max();
    for (name, value) in &report.about {
        let name = left(name, widest.unwrap_or(0));
        put(&mut out, format_args!("{name}  {value}\n"));
    }
    for each in &report.sections {
        out.push('\n');
        out.push_str(&section(each));
    }
    out
}

pub(super) fn section(section: &Section) -> String {
    let mut out = format!("{}\n", heading(&section.title, '-'));
    for paragraph in &section.text {
        put(&mut out, format_args!("{paragraph}\n"));
    }
    for (caption, text) in &section.listings {
        put(&mut out, format_args!("\n{caption}\n"));
        for line in text.lines() {
            let line = format!("    {line}");
            put(&mut out, format_args!("{}\n", line.trim_end()));
        }
    }
    for each in &section.tables {
        out.push('\n');
        out.push_str(&table(each));
    }
    out
}

fn table(table: &Table) -> String {
    let mut out = String::new();
    if !table.caption.is_empty() {
        put(&mut out, format_args!("{}\n", table.caption));
    }
    let rows = || std::iter::once(&table.head).chain(&table.rows);
    let columns = rows().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows().filter_map(|row| row.get(column));
            cells.map(|cell| width(cell)).max().unwrap_or(0)
        })
        .collect();
    let mut lines = rows().map(|row| line(row, &widths));
    out.push_str(&lines.next().unwrap_or_default());
    let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    out.push_str(&line(&rule, &widths));
    out.extend(lines);
    out
}

/// The first column to the left, numbers to the right.
fn line(cells: &[String], widths: &[usize]) -> String {
    let aligned: Vec<String> = cells
        .iter()
        .zip(widths)
        .enumerate()
        .map(|(column, (cell, &wide))| match column {
            0 => left(cell, wide),
            _ => format!("{}{cell}", " ".repeat(wide - width(cell))),
        })
        .collect();
    format!("{}\n", aligned.join("  ").trim_end())
}

fn heading(text: &str, rule: char) -> String {
    format!("{text}\n{}", String::from(rule).repeat(width(text)))
}

fn left(text: &str, wide: usize) -> String {
    format!("{text}{}", " ".repeat(wide.saturating_sub(width(text))))
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut shown = Table::new("Rates", &["who", "GB/s"]);
        shown.row(["forebay".into(), "4.7".into()]);
        shown.row(["é".into(), "12.25".into()]);
        let text = "Rates\nwho       GB/s\n-------  -----\nforebay    4.7\né        12.25\n";
        assert_eq!(table(&shown), text);
    }

    #[test]
    fn row_that_is_too_short_or_long_breaks_nothing() {
        let mut shown = Table::new("", &["a", "b"]);
        shown.rows.push(vec!["only".into()]);
        shown.rows.push(vec!["1".into(), "2".into(), "3".into()]);
        assert_eq!(table(&shown), "a     b\n----  -  -\nonly\n1     2  3\n");
    }

    #[test]
    fn report_says_what_it_is_about_and_has_all_sections() {
        let mut whole = Report::new("Compared");
        whole.about("nginx", "1.22");
        whole.about("kernel", "6.1");
        let mut hits = Section::new("Hits");
        hits.text.push("From memory.".into());
        hits.listings.push(("nginx".into(), "a;\n\n b;\n".into()));
        whole.sections = vec![hits, Section::new("Misses")];
        let text = "Compared\n========\nnginx   1.22\nkernel  6.1\n\nHits\n----\nFrom memory.\n\nnginx\n    a;\n\n     b;\n\nMisses\n------\n";
        assert_eq!(report(&whole), text);
    }
}
