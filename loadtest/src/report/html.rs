//! A report as one page: its style and its pictures are in it, and it runs no script.

use super::plot::figure;
use super::{Report, Section, Table, put};

const STYLE: &str = include_str!("style.css");

pub(super) fn page(report: &Report) -> String {
    let title = escaped(&report.title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    if !report.about.is_empty() {
        out.push_str("<dl>\n");
        for (name, value) in &report.about {
            let (name, value) = (escaped(name), escaped(value));
            put(&mut out, format_args!("<dt>{name}</dt><dd>{value}</dd>\n"));
        }
        out.push_str("</dl>\n");
    }
    for each in &report.sections {
        section(each, &mut out);
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn section(section: &Section, out: &mut String) {
    put(
        out,
        format_args!("<section>\n<h2>{}</h2>\n", escaped(&section.title)),
    );
    for paragraph in &section.text {
        put(out, format_args!("<p>{}</p>\n", escaped(paragraph)));
    }
    for (caption, text) in &section.listings {
        let (caption, text) = (escaped(caption), escaped(text));
        put(
            out,
            format_args!("<details><summary>{caption}</summary><pre>{text}</pre></details>\n"),
        );
    }
    for each in &section.tables {
        table(each, out);
    }
    for plot in &section.plots {
        out.push_str(&figure(plot));
    }
    out.push_str("</section>\n");
}

fn table(table: &Table, out: &mut String) {
    out.push_str("<div class=\"wide\"><table>\n");
    if !table.caption.is_empty() {
        put(
            out,
            format_args!("<caption>{}</caption>\n", escaped(&table.caption)),
        );
    }
    row(&table.head, "th", out);
    for cells in &table.rows {
        row(cells, "td", out);
    }
    out.push_str("</table></div>\n");
}

fn row(cells: &[String], tag: &str, out: &mut String) {
    out.push_str("<tr>");
    for cell in cells {
        put(out, format_args!("<{tag}>{}</{tag}>", escaped(cell)));
    }
    out.push_str("</tr>\n");
}

/// Text that is nothing but text on a page, in an attribute too.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Axis, Plot, Series, Unit};

    const EVIL: &str = "<script>\"'&";

    fn everywhere_evil() -> Report {
        let mut report = Report::new(EVIL);
        report.about(EVIL, EVIL);
        let mut section = Section::new(EVIL);
        section.text.push(EVIL.to_owned());
        section.listings.push((EVIL.to_owned(), EVIL.to_owned()));
        let mut table = Table::new(EVIL, &[EVIL]);
        table.row([EVIL.to_owned()]);
        section.tables.push(table);
        let axis = || Axis::new(EVIL, Unit::Count);
        let mut plot = Plot::new(EVIL, axis(), axis());
        plot.series.push(Series {
            name: EVIL.to_owned(),
            points: vec![(0.0, 1.0)],
        });
        section.plots.push(plot);
        report.sections.push(section);
        report
    }

    #[test]
    fn no_text_is_taken_for_markup() {
        let page = everywhere_evil().html();
        let shown = page.matches("&lt;script&gt;&quot;&#39;&amp;").count();
        // Title twice, about twice, a heading, a paragraph, a listing twice, caption, head, cell, the plot's title twice, legend,
        // two axes.
        assert_eq!((shown, page.contains("<script")), (16, false), "{page}");
    }

    #[test]
    fn page_asks_for_nothing_and_is_dark_where_that_is_wanted() {
        let page = everywhere_evil().html();
        for outside in ["http://", "https://", "src=", "url(", "@import", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
    }
}
