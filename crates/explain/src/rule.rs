//! A [`Rule`] over the mounts of a machine: its name and its page as data. The rules themselves are files of
//! [`crate::why`].

use std::fmt::Write as _;
use subtree_model::RuleId;

/// A rule as data: what its page says.
#[derive(Debug)]
pub struct Rule {
    /// Its name, in answers and findings and as the name of its page.
    pub id: &'static str,
    /// What it says, in a line.
    pub summary: &'static str,
    /// When it is said.
    pub what: &'static str,
    /// Why it is so: what the kernel does, and whose fault that looks like.
    pub why: &'static str,
    /// What to do.
    pub instead: &'static str,
    /// The kernel's rules that it comes from.
    pub kernel: &'static [RuleId],
}

/// What stands over every page.
pub(crate) const GENERATED: &str =
    "<!-- Made from the rule's own data: RHIZOME_BLESS=1 cargo test -p explain writes it. -->\n";

impl Rule {
    /// The rule's page, in Markdown, as its file has it.
    #[must_use]
    pub fn page(&self) -> String {
        format!("{GENERATED}{}", self.text())
    }

    /// The same for people.
    #[must_use]
    pub fn text(&self) -> String {
        let Rule { id, summary, what, why, instead, kernel } = self;
        let mut text = format!(
            "# {id}\n\n{summary}.\n\n## When it is said\n\n{what}\n\n## Why it is so\n\n{why}\n\n\
             ## What to do\n\n{instead}\n"
        );
        if !kernel.is_empty() {
            text.push_str("\n## The kernel's rules behind it\n\n");
            for rule in *kernel {
                let _ = writeln!(text, "- [{0}](kernel/{0}.md): {1}.", rule.id(), rule.meaning());
            }
        }
        text
    }
}

/// The page of the kernel's own rules.
#[must_use]
pub fn kernel_page() -> String {
    let mut text = format!(
        "{GENERATED}# What the kernel does with mounts\n\nThe rules that `rhizome simulate`, `plan`, `why` and `run --dry-run` name; `rhizome lint --explain RULE` prints \
         a rule's page. Checked against a running kernel (Linux 6.18) by the differential test of `subtree-model`.\n\n## What happens\n\n"
    );
    for rule in RuleId::ALL.iter().filter(|rule| rule.errno().is_none()) {
        let _ =
            writeln!(text, "- <a id=\"{0}\"></a>[**{0}**](kernel/{0}.md): {1}.", rule.id(), rule.meaning());
    }
    text.push_str("\n## What is refused\n\n");
    for rule in RuleId::ALL {
        if let Some(errno) = rule.errno() {
            let _ = writeln!(
                text,
                "- <a id=\"{0}\"></a>[**{0}**](kernel/{0}.md) ({errno}): {1}.",
                rule.id(),
                rule.meaning()
            );
        }
    }
    text
}

/// A page that lists rules.
#[must_use]
pub fn index_page(title: &str, text: &str, rules: &[&Rule]) -> String {
    let mut page = format!("{GENERATED}# {title}\n\n{text}\n\n| rule | says |\n|---|---|\n");
    for rule in rules {
        let _ = writeln!(page, "| [{0}]({0}.md) | {1} |", rule.id, rule.summary);
    }
    page
}
