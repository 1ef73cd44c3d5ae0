//! The page and its picture.

use std::fmt::Write as _;

use super::figures::Figure;

/// docs/benchmarks.md
pub(crate) fn page(machine: &str, figures: &[Figure], absent: &[String]) -> String {
    let mut text = String::from("# What it costs\n\n");
    let _ = writeln!(
        text,
        "Written by `cargo xtask bench --write`, which measures everybody in turn in the same run; medians. Less is better \
         everywhere.\n\n{machine}.\n\n![the figures as bars](pictures/benchmarks.svg)"
    );
    for figure in figures {
        let _ = writeln!(text, "\n## {}\n\n{}\n", figure.title, figure.about);
        let _ = writeln!(text, "| | {} |", figure.columns.join(" | "));
        let _ = writeln!(text, "|---|{}", "---:|".repeat(figure.columns.len()));
        for (name, values) in &figure.rows {
            let values: Vec<String> = values.iter().map(|value| shown(*value)).collect();
            let _ = writeln!(text, "| {name} | {} |", values.join(" | "));
        }
    }
    if !absent.is_empty() {
        let _ = writeln!(text, "\n## Not measured\n");
        for line in absent {
            let _ = writeln!(text, "- {}", line.replace('\n', " "));
        }
    }
    text + REMARKS
}

/// What the figures do not say.
const REMARKS: &str = include_str!("remarks.md");

fn shown(value: f64) -> String {
    match value {
        v if v.is_nan() => "–".to_owned(),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

const WIDTH: f64 = 720.0;
const NAME_WIDTH: f64 = 220.0;
const BAR_HEIGHT: f64 = 18.0;
const ROW: f64 = 26.0;

/// Bars, a group a figure; the first row, ours, stands out. Text and bars keep their contrast on light and dark pages.
pub(crate) fn picture(figures: &[Figure]) -> String {
    let mut body = String::new();
    let mut y = 10.0;
    for (figure, column) in figures.iter().filter_map(|figure| Some((figure, figure.drawn?))) {
        y += 24.0;
        let title = format!("{}: {}", figure.title, figure.columns[column]);
        let _ = writeln!(body, r#"<text class="title" x="10" y="{y:.0}">{}</text>"#, escaped(&title));
        y += 12.0;
        let rows = || figure.rows.iter().filter(|(_, values)| !values[column].is_nan());
        let most = rows().map(|(_, values)| values[column]).fold(f64::MIN_POSITIVE, f64::max);
        for (index, (name, values)) in rows().enumerate() {
            let length = (values[column] / most * (WIDTH - NAME_WIDTH - 90.0)).max(1.0);
            let class = if index == 0 { "ours" } else { "theirs" };
            let middle = y + BAR_HEIGHT * 0.75;
            let (name, end) = (escaped(name), NAME_WIDTH + length + 8.0);
            let _ = writeln!(
                body,
                r#"<text x="{:.0}" y="{middle:.1}" text-anchor="end">{name}</text>"#,
                NAME_WIDTH - 8.0
            );
            let _ = writeln!(
                body,
                r#"<rect class="{class}" x="{NAME_WIDTH}" y="{y:.1}" width="{length:.1}" height="{BAR_HEIGHT}" rx="2"/>"#
            );
            let _ = writeln!(body, r#"<text x="{end:.1}" y="{middle:.1}">{}</text>"#, shown(values[column]));
            y += ROW;
        }
    }
    let height = y + 10.0;
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="benchmarks">
<style>
text {{ font: 13px system-ui, sans-serif; fill: #24292f; }} .title {{ font-weight: 600; }}
.ours {{ fill: #1a7f37; }} .theirs {{ fill: #8c959f; }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3; }} .ours {{ fill: #3fb950; }} .theirs {{ fill: #6e7681; }} }}
</style>
{body}</svg>
"#
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_every_row_and_the_picture_what_is_drawn() {
        let figure = |title, drawn| Figure {
            title,
            about: "about it".to_owned(),
            columns: vec!["wall ms", "CPU ms"],
            rows: vec![("ours".to_owned(), vec![1.234, 120.4]), ("a<b".to_owned(), vec![25.04, 3.0])],
            drawn,
        };
        let figures = [figure("First", Some(0)), figure("Second", None)];
        let page = page("a machine", &figures, &["youki: not\ninstalled".to_owned()]);
        assert!(page.contains("| ours | 1.23 | 120 |\n| a<b | 25.0 | 3.00 |"), "{page}");
        assert!(page.contains("- youki: not installed"), "{page}");
        let picture = picture(&figures);
        assert!(picture.contains("First: wall ms") && !picture.contains("Second"), "{picture}");
        assert!(picture.contains("a&lt;b"), "{picture}");
    }
}
