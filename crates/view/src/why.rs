//! Answers of `explain::why`: for reading, and as the document `Answer`.

use crate::findings::write_rest;
use crate::text::{Paint, printable, wrap};
use explain::finding::Severity;
use explain::why::{Answer, Visibility};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The verdict, the chain with its first break marked, the cause and its mends.
pub fn answer(answer: &Answer, columns: usize, paint: Paint) -> String {
    let mut text = String::new();
    let verdict = wrap(&printable(&answer.verdict), columns, 2);
    let (first, rest) = verdict.split_once(':').unwrap_or((&verdict, ""));
    let first = match answer.visible {
        Visibility::Yes => paint.good(first),
        Visibility::No => paint.bad(first),
    };
    let _ = writeln!(text, "{first}:{}\n", paint.strong(rest));
    let mut broken = false;
    for (index, link) in answer.chain.iter().enumerate() {
        let mark = match (link.holds, broken) {
            (true, _) => paint.good(" ok "),
            (false, false) => paint.bad(" NO "),
            (false, true) => paint.dim(" no "),
        };
        broken |= !link.holds;
        let rule = link.rule.map_or_else(String::new, |rule| format!(" [{rule}]"));
        let fact = wrap(&format!("{}{rule}", printable(&link.fact)), columns, 8);
        let _ = writeln!(text, "{:>3} {mark}{fact}", index + 1);
    }
    let cause = &answer.cause;
    let label = format!("cause[{}]:", cause.id);
    let title = wrap(&format!("{label} {}", printable(&cause.title)), columns, 2);
    let title = title.strip_prefix(&label).unwrap_or(&title).to_owned();
    let painted = if cause.severity == Severity::Problem { paint.bad(&label) } else { paint.label(&label) };
    let _ = writeln!(text, "\n{painted}{}", paint.strong(&title));
    write_rest(&mut text, cause, columns, paint);
    text
}

/// The document.
pub fn document(answer: &Answer) -> Value {
    json!({
        "apiVersion": "rhizome.dev/v1",
        "kind": "Answer",
        "answer": answer,
    })
}
