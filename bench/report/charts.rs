//! Charts as SVG. The colours are those of light paper; the page gives each another one in the dark,
//! by its value.

use super::{Chart, Curve, Plot, Scale, Series, round};
use anyhow::Result;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The colours of a chart, on light paper and in the dark.
pub(crate) const PALETTE: [(&str, &str); 8] = [
    ("#1F2328", "#E6EDF3"), // text
    ("#8C959F", "#7D8590"), // axes
    ("#E4E8EC", "#2B3138"), // lines behind
    ("#0969DA", "#58A6FF"), // the first series, and casulo's own
    ("#BC4C00", "#F0883E"),
    ("#1A7F37", "#3FB950"),
    ("#8250DF", "#BC8CFF"),
    ("#59636E", "#9198A1"), // others
];
const TEXT: usize = 0;
const AXIS: usize = 1;
const BEHIND: usize = 2;
const FIRST: usize = 3;
const OTHERS: usize = 7;
const SERIES: usize = 4;

const WIDTH: u32 = 340;
const LINE: u32 = 18;

/// The colour of a series on light paper.
pub(crate) fn series_colour(index: usize) -> &'static str {
    PALETTE[FIRST + index % SERIES].0
}

/// The names of what is in the chart, where there is more than one.
pub(crate) fn legend(chart: &Chart) -> Vec<String> {
    let names: Vec<String> = match &chart.plot {
        Plot::Ranges { series, .. } => series.iter().map(|it| it.name.clone()).collect(),
        Plot::Curves { curves, .. } => curves.iter().map(|it| it.name.clone()).collect(),
    };
    if names.len() > 1 { names } else { Vec::new() }
}

/// The chart as an SVG element.
pub(crate) fn svg(chart: &Chart) -> String {
    let mut text = String::new();
    let drawn = match &chart.plot {
        Plot::Ranges {
            scale,
            base,
            series,
        } => ranges(&mut text, chart, *scale, *base, series),
        Plot::Curves { across, curves } => curves_over(&mut text, chart, across, curves),
    };
    drawn.map_or_else(|error| format!("<p>{error:#}</p>"), |()| text)
}

fn colour(index: usize) -> RGBColor {
    let number = u32::from_str_radix(&PALETTE[index].0[1..], 16).unwrap_or(0);
    let [_, red, green, blue] = number.to_be_bytes();
    RGBColor(red, green, blue)
}

fn font(size: u32, colour_of: usize) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour(colour_of))
}

fn ranges(
    text: &mut String,
    chart: &Chart,
    scale: Scale,
    base: Option<f64>,
    series: &[Series],
) -> Result<()> {
    let mut labels: Vec<&str> = Vec::new();
    for (label, _) in series.iter().flat_map(|it| &it.points) {
        if !labels.contains(&label.as_str()) {
            labels.push(label);
        }
    }
    let figures = || series.iter().flat_map(|it| &it.points).map(|(_, it)| it);
    let high = figures().map(|it| it.high).chain(base).fold(0.0, f64::max);
    let low = figures().map(|it| it.low).chain(base);
    let low = low.filter(|it| *it > 0.0).fold(high, f64::min);
    let left = label_width(&labels);
    let per_label = u32::try_from(series.len().max(1))?;
    let lines = u32::try_from(labels.len().max(1))?;
    let height = lines * (LINE + (per_label - 1) * 11) + 48;
    let area = SVGBackend::with_string(text, (WIDTH, height)).into_drawing_area();
    let mut builder = ChartBuilder::on(&area);
    builder
        .margin_right(44)
        .margin_top(4)
        .x_label_area_size(40)
        .y_label_area_size(left);
    let down = f64::from(lines)..0.0;
    match scale {
        Scale::Logarithmic => {
            let across = (low * 0.8..high * 1.25).log_scale();
            let mut context = builder.build_cartesian_2d(across, down)?;
            rows(&area, &mut context, chart, base, series, (&labels, left))?;
        }
        Scale::FromZero => {
            let mut context = builder.build_cartesian_2d(0.0..high * 1.1, down)?;
            rows(&area, &mut context, chart, base, series, (&labels, left))?;
        }
    }
    area.present()?;
    drop(area);
    Ok(())
}

/// The lines of a chart of ranges, on whatever scale.
fn rows<'a, X>(
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    context: &mut ChartContext<
        'a,
        SVGBackend<'a>,
        Cartesian2d<X, plotters::coord::types::RangedCoordf64>,
    >,
    chart: &Chart,
    base: Option<f64>,
    series: &[Series],
    (labels, left): (&[&str], u32),
) -> Result<()>
where
    X: plotters::coord::ranged1d::Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    context
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .y_labels(0)
        .x_labels(5)
        .x_label_formatter(&|value| short(*value))
        .x_desc(&chart.axis)
        .axis_desc_style(font(12, AXIS))
        .label_style(font(11, AXIS))
        .axis_style(colour(AXIS))
        .bold_line_style(colour(BEHIND))
        .light_line_style(TRANSPARENT)
        .draw()?;
    if let Some(base) = base {
        let bottom = labels.len().to_string().parse::<f64>()?;
        let line = vec![(base, 0.0), (base, bottom)];
        context.draw_series([PathElement::new(line, colour(AXIS).stroke_width(1))])?;
    }
    let left = i32::try_from(left)? - 8;
    for (place, label) in (0u32..).zip(labels) {
        let middle = f64::from(place) + 0.5;
        let (_, y) = context.backend_coord(&(base.unwrap_or(1.0), middle));
        let style = font(12, TEXT).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw_text(label, &style, (left, y))?;
        for (index, one) in series.iter().enumerate() {
            let figure = one.points.iter().find(|(it, _)| it == label);
            let Some((_, figure)) = figure else { continue };
            let ours = series.len() > 1 || label.starts_with("casulo");
            let shade = if ours { FIRST + index % SERIES } else { OTHERS };
            // Series lie below each other within the line of their label, and off those of the next.
            const GAP: f64 = 0.12;
            let count = f64::from(u32::try_from(series.len())?);
            let within = (f64::from(u32::try_from(index)?) + 0.5) / count;
            let at = f64::from(place) + GAP + within * (1.0 - 2.0 * GAP);
            let from = context.backend_coord(&(figure.low, at));
            let to = context.backend_coord(&(figure.high, at));
            let dot = context.backend_coord(&(figure.median, at));
            let wide = ShapeStyle::from(&colour(shade).mix(0.45)).stroke_width(5);
            area.draw(&PathElement::new(vec![from, to], wide))?;
            area.draw(&Circle::new(dot, 4, colour(shade).filled()))?;
            let style = font(11, TEXT).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw_text(&round(figure.median), &style, (to.0.max(dot.0) + 9, dot.1))?;
        }
    }
    Ok(())
}

fn curves_over(text: &mut String, chart: &Chart, across: &str, curves: &[Curve]) -> Result<()> {
    let points = || curves.iter().flat_map(|it| &it.points);
    let right = points().map(|(x, _)| *x).fold(0.0, f64::max);
    let top = points().map(|(_, y)| y.high).fold(0.0, f64::max);
    let area = SVGBackend::with_string(text, (WIDTH, 240)).into_drawing_area();
    let mut context = ChartBuilder::on(&area)
        .margin(8)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..right * 1.05, 0.0..top * 1.08)?;
    context
        .configure_mesh()
        .x_labels(5)
        .y_labels(6)
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .x_desc(across)
        .y_desc(&chart.axis)
        .axis_desc_style(font(12, AXIS))
        .label_style(font(11, AXIS))
        .axis_style(colour(AXIS))
        .bold_line_style(colour(BEHIND))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (index, curve) in curves.iter().enumerate() {
        let shade = colour(FIRST + index % SERIES);
        let line = curve.points.iter().map(|(x, y)| (*x, y.median));
        context.draw_series(LineSeries::new(line, shade.stroke_width(2)))?;
        for (x, y) in &curve.points {
            let spread = vec![(*x, y.low), (*x, y.high)];
            let wide = ShapeStyle::from(&shade.mix(0.45)).stroke_width(5);
            context.draw_series([PathElement::new(spread, wide)])?;
            context.draw_series([Circle::new((*x, y.median), 4, shade.filled())])?;
        }
    }
    drop(context);
    area.present()?;
    drop(area);
    Ok(())
}

/// Room for the longest label, in a fount whose letters are about this wide.
fn label_width(labels: &[&str]) -> u32 {
    const LETTER: u32 = 6;
    let longest = labels.iter().map(|label| label.chars().count()).max();
    u32::try_from(longest.unwrap_or(0)).unwrap_or(0).min(28) * LETTER + 16
}

/// A number at an axis.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
