//! The pages of the rules, from their data.

use super::rule::{Rule, Severity};
use super::rules::RULES;
use crate::rule::GENERATED;
use std::fmt::Write as _;

/// The file of a rule's page.
#[must_use]
pub fn page(rule: &Rule) -> String {
    format!("{GENERATED}{}", text(rule))
}

/// What the page of a rule says, in Markdown.
#[must_use]
pub fn text(rule: &Rule) -> String {
    let Rule { id, summary, what, why, instead, fix, bad, good, .. } = rule;
    let severity = rule.severity.word();
    let fix = if fix.is_empty() { "None: what is right only you know." } else { fix };
    let silence = match OF_NO_OBJECT.contains(id) {
        true => "It is not to be silenced: what is no object has no annotations.".to_owned(),
        false => {
            format!("To silence it, annotate the object or its Pod template with `rhizome.dev/ignore: {id}`.")
        }
    };
    format!(
        "# {id}\n\n{severity}: {summary}.\n\n## What it does\n\n{what}\n\n## Why is this bad\n\n{why}\n\n\
         ## What to do\n\n{instead}\n\nFix (`rhizome lint --fix`): {fix}\n\n\
         {silence}\n\n\
         ## Bad\n\n```yaml\n{bad}```\n\n## Good\n\n```yaml\n{good}```\n"
    )
}

/// Rules over text that has no object to annotate.
const OF_NO_OBJECT: [&str; 2] = ["no-object", "not-yaml"];

/// The index of the pages, in Markdown.
#[must_use]
pub fn index() -> String {
    let mut text = format!(
        "{GENERATED}# Rules of `rhizome lint`\n\n\
         `error`: an API server refuses it, or would leave it out. `warning`: it is accepted, and does harm or not what it \
         says. `note`: worth knowing.\n\n\
         The exit status is 0 if there is nothing but notes, 1 if there are errors or warnings (with `--fix`: that are \
         left), 2 if something could not be read. `--format` is `plain`, `json`, `sarif` (2.1.0) or `github`.\n\n\
         The annotation `rhizome.dev/ignore: rule,rule` on an object or on its Pod template silences rules for this \
         object.\n"
    );
    for severity in [Severity::Error, Severity::Warning, Severity::Note] {
        let _ = write!(text, "\n## {}s\n\n| rule | finds | fix |\n|---|---|---|\n", severity.word());
        for rule in RULES.iter().filter(|rule| rule.severity == severity) {
            let fix = if rule.fix.is_empty() { "" } else { "yes" };
            let _ = writeln!(text, "| [{0}]({0}.md) | {1} | {fix} |", rule.id, rule.summary);
        }
    }
    text
}
