//! A plot as SVG that a page's style sheet colours.

use super::html::escaped;
use super::scale::Scale;
use super::{Plot, PlotKind, Series, put};
use crate::stats::float;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
/// What is left for the ticks' texts.
const LEFT: f64 = 84.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 46.0;
/// Colours that the page's style sheet has.
const COLOURS: usize = 8;

/// The plot with its title and its legend.
pub(super) fn figure(plot: &Plot) -> String {
    let mut out = format!(
        "<figure><figcaption>{}</figcaption>\n",
        escaped(&plot.title)
    );
    out.push_str(&legend(&plot.series));
    let canvas = Canvas::of(plot);
    let size = format!("0 0 {WIDTH} {HEIGHT}");
    let title = escaped(&plot.title);
    put(
        &mut out,
        format_args!("<svg viewBox=\"{size}\" role=\"img\" aria-label=\"{title}\">\n"),
    );
    canvas.frame(&mut out);
    match plot.kind {
        PlotKind::Bars => canvas.bars(&mut out),
        PlotKind::Lines | PlotKind::Steps => canvas.lines(&mut out),
    }
    out.push_str("</svg></figure>\n");
    out
}

fn legend(series: &[Series]) -> String {
    let mut out = "<p class=\"legend\">".to_owned();
    for (index, series) in series.iter().enumerate() {
        let (colour, name) = (colour(index), escaped(&series.name));
        put(
            &mut out,
            format_args!("<span><i class=\"key {colour}\"></i>{name}</span> "),
        );
    }
    out.push_str("</p>\n");
    out
}

fn colour(index: usize) -> String {
    format!("c{}", index % COLOURS)
}

struct Canvas<'a> {
    plot: &'a Plot,
    x: Scale,
    y: Scale,
}

impl<'a> Canvas<'a> {
    fn of(plot: &'a Plot) -> Self {
        let points = || plot.series.iter().flat_map(|series| &series.points);
        Self {
            plot,
            x: Scale::of(&plot.x, points().map(|point| point.0)),
            y: Scale::of(&plot.y, points().map(|point| point.1)).rounded(),
        }
    }

    /// Where a point is; none where the axes can't show it.
    fn at(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        Some((across(self.x.place(x)?), up(self.y.place(y)?)))
    }

    /// The grid, the ticks and what the axes are.
    fn frame(&self, out: &mut String) {
        let (end, floor) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in self.y.ticks() {
            let Some(at) = self.y.place(tick).map(up) else {
                continue;
            };
            let (text, beside) = (self.plot.y.unit.format(tick), LEFT - 6.0);
            put(
                out,
                format_args!(
                    "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{end}\"/>\
                     <text class=\"y\" x=\"{beside}\" y=\"{at:.1}\" dy=\"4\">{text}</text>\n"
                ),
            );
        }
        let bars = self.plot.kind == PlotKind::Bars;
        let ticks = if bars { Vec::new() } else { self.x.ticks() };
        for tick in ticks {
            let Some(at) = self.x.place(tick).map(across) else {
                continue;
            };
            let (text, below) = (self.plot.x.unit.format(tick), floor + 16.0);
            put(
                out,
                format_args!("<text class=\"x\" x=\"{at:.1}\" y=\"{below}\">{text}</text>\n"),
            );
        }
        let (middle, last) = (f64::midpoint(LEFT, end), HEIGHT - 8.0);
        let (x, y) = (escaped(&self.plot.x.label), escaped(&self.plot.y.label));
        let half = f64::midpoint(TOP, floor);
        put(
            out,
            format_args!(
                "<path class=\"axis\" d=\"M{LEFT} {TOP}V{floor}H{end}\"/>\
                 <text class=\"x\" x=\"{middle}\" y=\"{last}\">{x}</text>\
                 <text class=\"x\" transform=\"translate(12 {half})rotate(-90)\">{y}</text>\n"
            ),
        );
    }

    fn lines(&self, out: &mut String) {
        for (index, series) in self.plot.series.iter().enumerate() {
            let mut path = String::new();
            for (x, y) in series.points.iter().filter_map(|&point| self.at(point)) {
                let step = self.plot.kind == PlotKind::Steps;
                match path.is_empty() {
                    true => put(&mut path, format_args!("M{x:.1} {y:.1}")),
                    false if step => put(&mut path, format_args!("H{x:.1}V{y:.1}")),
                    false => put(&mut path, format_args!("L{x:.1} {y:.1}")),
                }
            }
            let colour = colour(index);
            put(
                out,
                format_args!("<path class=\"line {colour}\" d=\"{path}\"/>\n"),
            );
        }
    }

    /// Each x has a place of its own, and in it each series a bar.
    fn bars(&self, out: &mut String) {
        let all = self.plot.series.iter().flat_map(|series| &series.points);
        let mut places: Vec<f64> = all.map(|(x, _)| *x).collect();
        places.sort_by(f64::total_cmp);
        places.dedup_by(|a, b| a.total_cmp(b).is_eq());
        let each = (WIDTH - LEFT - RIGHT) / number(places.len().max(1));
        let bar = each * 0.8 / number(self.plot.series.len().max(1));
        let floor = HEIGHT - BOTTOM;
        for (index, series) in self.plot.series.iter().enumerate() {
            for &(x, y) in &series.points {
                let place = places.iter().position(|place| place.total_cmp(&x).is_eq());
                let (Some(place), Some(top)) = (place, self.y.place(y).map(up)) else {
                    continue;
                };
                let from = LEFT + each * (number(place) + 0.1) + bar * number(index);
                let (colour, high) = (colour(index), floor - top);
                let (name, value) = (escaped(&series.name), self.plot.y.unit.format(y));
                put(
                    out,
                    format_args!(
                        "<rect class=\"bar {colour}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{bar:.1}\" \
                         height=\"{high:.1}\"><title>{name}: {value}</title></rect>\n"
                    ),
                );
            }
        }
    }
}

fn across(share: f64) -> f64 {
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn up(share: f64) -> f64 {
    HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
}

fn number(count: usize) -> f64 {
    float(count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Axis, Unit};

    fn plot(kind: PlotKind, points: &[&[(f64, f64)]]) -> String {
        let x = Axis::new("time", Unit::Seconds);
        let mut plot = Plot::new("a < b", x, Axis::new("", Unit::Count));
        plot.kind = kind;
        plot.series = points
            .iter()
            .map(|points| Series {
                name: "one & two".to_owned(),
                points: points.to_vec(),
            })
            .collect();
        figure(&plot)
    }

    #[test]
    fn lines_go_from_point_to_point_within_the_frame() {
        let svg = plot(PlotKind::Lines, &[&[(0.0, 0.0), (5.0, 1.0), (10.0, 0.5)]]);
        assert!(
            svg.contains("d=\"M84.0 254.0L394.0 10.0L704.0 132.0\""),
            "{svg}"
        );
        assert!(svg.contains("a &lt; b") && svg.contains("one &amp; two"));
        assert!(svg.contains("10 s</text>"), "{svg}");
    }

    #[test]
    fn steps_hold_each_value_until_the_next() {
        let svg = plot(PlotKind::Steps, &[&[(0.0, 0.0), (5.0, 1.0)]]);
        assert!(svg.contains("d=\"M84.0 254.0H704.0V10.0\""), "{svg}");
    }

    #[test]
    fn bars_of_one_place_stand_beside_each_other() {
        let svg = plot(PlotKind::Bars, &[&[(0.0, 1.0)], &[(0.0, 0.5)]]);
        assert!(
            svg.contains("x=\"146.0\" y=\"10.0\" width=\"248.0\" height=\"244.0\""),
            "{svg}"
        );
        assert!(
            svg.contains("x=\"394.0\" y=\"132.0\" width=\"248.0\" height=\"122.0\""),
            "{svg}"
        );
    }

    #[test]
    fn plot_of_nothing_is_a_frame() {
        for kind in [PlotKind::Lines, PlotKind::Steps, PlotKind::Bars] {
            let svg = plot(kind, &[]);
            assert!(
                svg.contains("class=\"axis\"") && !svg.contains("NaN"),
                "{svg}"
            );
            assert!(!plot(kind, &[&[(f64::NAN, 1.0)]]).contains("NaN"));
        }
    }
}
