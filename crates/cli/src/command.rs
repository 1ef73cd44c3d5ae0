//! The whole command as `clap` has it: the definitions of [`crate::args`], what completes their values, and the first
//! help screen in groups. Parser, `--help`, completions, man pages and docs/reference/commands.md come from here.

use crate::args::Cli;
use crate::complete;
use crate::output;
use clap::{Arg, Command, CommandFactory as _};

/// The commands of the first help screen, by what somebody wants. One that is not named here comes last.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Pods", &["run", "ps", "inspect", "logs", "events", "top", "wait", "stop", "start", "rm"]),
    ("In a container", &["exec", "attach", "debug", "cp"]),
    (
        "Mounts",
        &[
            "mounts",
            "graph",
            "why",
            "why-not",
            "why-busy",
            "mend",
            "audit",
            "watch",
            "snapshot",
            "diff",
            "detach-mounts",
            "unshare",
        ],
    ),
    ("Before it is done", &["lint", "plan", "simulate"]),
    ("This machine", &["doctor", "image", "node", "kubeconfig", "system", "completions", "man"]),
];

/// The command, for help screens as wide as the terminal.
pub(crate) fn command() -> Command {
    command_for(output::columns())
}

/// The same, with what completes its values: for a shell that asks, and nobody else.
pub(crate) fn completed() -> Command {
    with_completion(command())
}

fn command_for(columns: usize) -> Command {
    in_groups(Cli::command(), columns)
}

/// With the commands that are to be seen in groups on the first screen.
pub(crate) fn in_groups(command: Command, columns: usize) -> Command {
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{}\nOptions:\n{{options}}{{after-help}}",
        groups(&command, columns)
    );
    command.help_template(template)
}

fn with_completion(command: Command) -> Command {
    let command = command.mut_args(|arg: Arg| match complete::completer(&arg) {
        Some(completer) => arg.add(completer),
        None => arg,
    });
    command.mut_subcommands(with_completion)
}

fn groups(command: &Command, columns: usize) -> String {
    let visible: Vec<&Command> = command.get_subcommands().filter(|one| !one.is_hide_set()).collect();
    let width = visible.iter().map(|one| one.get_name().len()).max().unwrap_or(0);
    let is_named = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let line = |one: &Command| {
        let about = one.get_about().map(ToString::to_string).unwrap_or_default();
        let indent = width + 4;
        let about = view::text::wrap(&about, columns.saturating_sub(indent).max(20), 0);
        let about = about.replace('\n', &format!("\n{:indent$}", ""));
        // Braces would be tags of the template.
        format!("  {:<width$}  {about}\n", one.get_name()).replace(['{', '}'], "'")
    };
    let mut text = String::new();
    for (title, names) in GROUPS {
        let mut lines =
            names.iter().filter_map(|name| visible.iter().find(|one| one.get_name() == *name)).peekable();
        if lines.peek().is_none() {
            continue;
        }
        text += &format!("\n{title}:\n{}", lines.map(|one| line(one)).collect::<String>());
    }
    let others: String =
        visible.iter().filter(|one| !is_named(one.get_name())).map(|one| line(one)).collect();
    if others.is_empty() { text } else { format!("{text}\nOthers:\n{others}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command and subcommand that can be seen, with its full name.
    fn all() -> Vec<(String, Command)> {
        fn add(all: &mut Vec<(String, Command)>, name: &str, command: &Command) {
            for one in command.get_subcommands().filter(|one| !one.is_hide_set()) {
                let name = format!("{name} {}", one.get_name());
                add(all, &name, one);
                all.push((name, one.clone()));
            }
        }
        let mut all = Vec::new();
        let mut command = command_for(100);
        command.build();
        add(&mut all, "rhizome", &command);
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    #[test]
    fn the_definitions_fit_together() {
        completed().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_example() {
        let has_examples = |command: &Command| {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            text.split_once("Examples:\n").is_some_and(|(_, examples)| examples.contains("rhizome "))
        };
        let without = all().into_iter().filter(|(_, one)| !one.has_subcommands() && !has_examples(one));
        assert_eq!(without.map(|(name, _)| name).collect::<Vec<_>>(), [""; 0]);
    }

    /// The help screens, as docs/reference/commands.md has them. `RHIZOME_BLESS=1` writes it.
    #[test]
    fn the_reference_is_what_the_program_says() {
        let mut text = String::from(
            "# Commands\n\nWhat `--help` says, of each command. Generated from the definitions of the flags: \
             `RHIZOME_BLESS=1 cargo test -p rhizome reference` writes it anew.\n",
        );
        for (name, command) in std::iter::once(("rhizome".to_owned(), command_for(100))).chain(all()) {
            // The environment of whoever runs this is not part of it.
            let command = command.mut_args(|arg| arg.hide_env(true)).term_width(100);
            let help = command.disable_help_flag(false).render_long_help().to_string();
            let help = help.lines().map(|line| line.trim_end().to_owned() + "\n").collect::<String>();
            text += &format!("\n## {name}\n\n```text\n{}```\n", help.trim_start());
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/commands.md");
        if std::env::var_os("RHIZOME_BLESS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let there = std::fs::read_to_string(path).unwrap_or_default();
        let differs = there.lines().zip(text.lines()).find(|(a, b)| a != b);
        assert!(
            there == text,
            "RHIZOME_BLESS=1 cargo test -p rhizome reference; first difference: {differs:?}"
        );
    }
}
