//! The pictures of a script's steps: below each other as SVG, and as a page to walk through.

use super::layout::{MARGIN, TITLE};
use super::svg::{Drawing, document, draw, draw_bare, legend, style};
use super::{escape, html::page};
use crate::text::cut;
use explain::graph::Graph;
use explain::simulate::{Event, Outcome, Picture, Step};
use std::fmt::Write as _;
use subtree_model::RuleId;

/// So many effects of a step are told above its picture.
const EFFECTS_MAX: usize = 12;
/// So many columns of a line or an effect are drawn.
const COLUMNS_MAX: usize = 120;
const LINE: f64 = 17.0;

/// What is said of a step: the number of its line, what it did, and how it failed.
struct Told {
    number: usize,
    command: String,
    fault: Option<String>,
    effects: Vec<(String, &'static str)>,
}

impl Told {
    fn of(step: &Step) -> Told {
        let told = step.calls.iter().flat_map(|call| &call.events);
        let effect = |event: &Event| {
            let place = match (&event.namespace, &event.path) {
                (Some(namespace), Some(path)) => format!("{namespace}:{}  ", path.display()),
                _ => String::new(),
            };
            (format!("{place}{}", event.text), event.rule.id())
        };
        let fault = step.fault.as_ref().map(|fault| match fault.reason.as_str() {
            "" => fault.errno.clone(),
            reason => format!("{}: {reason}", fault.errno),
        });
        Told {
            number: step.line,
            command: step.text.clone(),
            fault,
            effects: told.filter(|event| event.rule != RuleId::FileMade).map(effect).collect(),
        }
    }
}

/// All pictures, each below its line; lines that change no mount have none.
pub fn steps_svg(outcome: &Outcome, pictures: &[Picture], title: &str) -> String {
    let mut body = String::new();
    let (mut y, mut width) = (TITLE, TITLE + title.chars().count() as f64 * 10.5);
    let _ = writeln!(body, "<text class=\"title\" x=\"{MARGIN}\" y=\"34\">{}</text>", escape(title));
    let mut line = |body: &mut String, y: &mut f64, class: &str, text: &str| {
        *y += LINE;
        let text = cut(&crate::text::printable(text), COLUMNS_MAX).into_owned();
        width = width.max(2.0 * MARGIN + text.chars().count() as f64 * 7.6);
        let text = escape(&text);
        let _ = writeln!(
            body,
            "<text class=\"{class}\" x=\"{MARGIN}\" y=\"{y:.1}\" xml:space=\"preserve\">{text}</text>"
        );
    };
    let mut widest: f64 = 0.0;
    let mut next = pictures.iter().peekable();
    let mut show = |body: &mut String, y: &mut f64, graph: &Graph| {
        let Drawing { body: drawn, width, height } = draw_bare(graph);
        let height = height - TITLE;
        let _ = writeln!(
            body,
            "<svg x=\"0\" y=\"{y:.1}\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 {TITLE} {width:.0} {height:.0}\">\n{drawn}</svg>"
        );
        *y += height;
        widest = widest.max(width);
    };
    if let Some(picture) = next.next_if(|picture| picture.step.is_none()) {
        line(&mut body, &mut y, "name", "at the beginning");
        show(&mut body, &mut y, &picture.graph);
    }
    for (index, step) in outcome.steps.iter().enumerate() {
        let told = Told::of(step);
        y += 8.0;
        line(&mut body, &mut y, "name", &format!("{:>3}  {}", told.number, told.command));
        for (text, rule) in told.effects.iter().take(EFFECTS_MAX) {
            line(&mut body, &mut y, "dim", &format!("       {text}  [{rule}]"));
        }
        if told.effects.len() > EFFECTS_MAX {
            line(&mut body, &mut y, "dim", &format!("       and {} more", told.effects.len() - EFFECTS_MAX));
        }
        if let Some(fault) = &told.fault {
            line(&mut body, &mut y, "bad", &format!("      {fault}"));
        }
        if let Some(picture) = next.next_if(|picture| picture.step == Some(index)) {
            show(&mut body, &mut y, &picture.graph);
        }
    }
    let mut all_marks = pictures.iter().map(|picture| &picture.graph);
    let marked = all_marks.find(|graph| is_marked(graph)).or(pictures.last().map(|picture| &picture.graph));
    if let Some(graph) = marked {
        y += LINE;
        let (legend, legend_width, height) = legend(graph, y);
        body.push_str(&legend);
        widest = widest.max(legend_width);
        y += height;
    }
    document(&body, title, width.max(widest), y + MARGIN, &style())
}

fn is_marked(graph: &Graph) -> bool {
    graph.spaces.iter().flat_map(|space| &space.mounts).any(|row| row.change.is_some())
}

/// A page with a list of the steps: the picture beside it is what is there after the chosen one.
pub fn steps_html(outcome: &Outcome, pictures: &[Picture], title: &str) -> String {
    let mut list = String::from("<aside><ol class=\"steps\">\n");
    let _ =
        writeln!(list, "<li id=\"begin\" data-picture=\"0\"><span class=\"no\"></span>at the beginning</li>");
    let mut drawn = String::new();
    let mut shown = 0;
    for (index, picture) in pictures.iter().enumerate() {
        let step = picture.step.and_then(|step| outcome.steps.get(step));
        let title = step.map_or(title.to_owned(), |step| format!("{}  {}", step.line, step.text));
        let title = cut(&crate::text::printable(&title), COLUMNS_MAX).into_owned();
        let Drawing { body, width, height } = draw(&picture.graph, &title);
        let one = document(&body, &title, width, height, "");
        let hidden = if index == 0 { "" } else { " hidden=\"\"" };
        drawn.push_str(&one.replacen("<svg ", &format!("<svg{hidden} "), 1));
    }
    for (index, step) in outcome.steps.iter().enumerate() {
        let told = Told::of(step);
        let own = pictures.iter().position(|picture| picture.step == Some(index));
        shown = own.unwrap_or(shown);
        let class = if own.is_none() { " class=\"same\"" } else { "" };
        let errno = step
            .fault
            .as_ref()
            .map_or(String::new(), |fault| format!("<span class=\"bad\">{}</span>", escape(&fault.errno)));
        let _ = write!(
            list,
            "<li id=\"step{index}\"{class} data-picture=\"{shown}\"><span class=\"no\">{}</span><code>{}</code>{errno}<ul>",
            told.number,
            escape(&told.command)
        );
        told.effects.iter().for_each(|(text, rule)| {
            let _ = write!(list, "<li>{} <span class=\"rule\">[{rule}]</span></li>", escape(text));
        });
        if let Some(fault) = &told.fault {
            let _ = write!(list, "<li class=\"bad\">{}</li>", escape(fault));
        }
        list.push_str("</ul></li>\n");
    }
    list.push_str("</ol></aside>");
    let buttons = "<button id=\"back\" aria-label=\"The step before\">←</button><button id=\"on\" aria-label=\"The next step\">→</button>";
    page(title, &style(), buttons, &format!("{list}\n<main class=\"beside\">{drawn}</main>"))
}
