//! The name that the program was called by: `rhizome`, or `kubectl-propagation`, by which kubectl finds it as the plugin
//! `kubectl propagation`. What is printed for people to type again has that name.

use crate::{command, output};
use clap::builder::StyledStr;
use clap::{Arg, Command};
use explain::finding::Finding;
use std::path::Path;

/// What the file is called as a plugin.
const FILE: &str = "kubectl-propagation";
/// What people type then.
const TYPED: &str = "kubectl propagation";

/// What a plugin of kubectl is not for: pods are kubectl's own, and the rest is this machine's.
const NOT_OF_THE_PLUGIN: [&str; 20] = [
    "run",
    "ps",
    "inspect",
    "logs",
    "events",
    "top",
    "wait",
    "stop",
    "start",
    "rm",
    "exec",
    "attach",
    "debug",
    "cp",
    "image",
    "node",
    "kubeconfig",
    "system",
    "unshare",
    "detach-mounts",
];

/// Whether it was called as kubectl's plugin.
fn is_called() -> bool {
    let called = std::env::args_os().next();
    called.is_some_and(|called| Path::new(&called).file_name().is_some_and(|name| name == FILE))
}

/// The command in the words of whoever called it.
pub(crate) fn as_called(command: Command) -> Command {
    if is_called() { as_plugin(command) } else { command }
}

fn as_plugin(command: Command) -> Command {
    let command = command
        .bin_name(TYPED)
        .display_name(TYPED)
        .mut_subcommands(|one| {
            let is_hidden = one.is_hide_set() || NOT_OF_THE_PLUGIN.contains(&one.get_name());
            one.hide(is_hidden)
        })
        .after_help(
            "Examples:\n  kubectl propagation mounts            The mounts of every container, and with whom they are shared\n  \
             kubectl propagation why-not /mnt/x --in POD\n                                        Why a pod does not see what is mounted there\n  \
             kubectl propagation audit             What is wrong, or about to go wrong, on this node\n\n\
             It looks at the node on which it runs, as root.",
        );
    command::in_groups(command.mut_subcommands(in_its_words), output::columns())
}

/// Texts with examples, which name the program.
fn in_its_words(command: Command) -> Command {
    let said = |text: Option<&StyledStr>| text.map(|text| renamed(&text.to_string()));
    let (after, about) = (said(command.get_after_help()), said(command.get_long_about()));
    let command = after.into_iter().fold(command, Command::after_help);
    let command = command.mut_args(|arg| {
        let (help, long) = (said(arg.get_help()), said(arg.get_long_help()));
        let arg = help.into_iter().fold(arg, Arg::help);
        long.into_iter().fold(arg, Arg::long_help)
    });
    about.into_iter().fold(command, Command::long_about).mut_subcommands(in_its_words)
}

/// `rhizome why …` and `rhizome why` in back quotes become what is typed here.
fn renamed(text: &str) -> String {
    text.replace("  rhizome ", &format!("  {TYPED} "))
        .replace("`rhizome ", &format!("`{TYPED} "))
        .replace("| rhizome ", &format!("| {TYPED} "))
}

/// Mends as they are to be typed.
pub(crate) fn name_mends<'a>(findings: impl IntoIterator<Item = &'a mut Finding>) {
    if !is_called() {
        return;
    }
    for mend in findings.into_iter().flat_map(|finding| &mut finding.mends) {
        if let Some(rest) = mend.command.strip_prefix("rhizome ") {
            mend.command = format!("{TYPED} {rest}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn no_screen_of_the_plugin_names_rhizome_as_the_command() {
        let mut command = as_plugin(crate::args::Cli::command());
        command.build();
        let verbs = command.get_subcommands_mut().filter(|one| !one.is_hide_set());
        for verb in verbs {
            let help = verb.render_long_help().to_string();
            assert!(help.contains("Usage: kubectl propagation "), "{help}");
            let wrong = help.lines().find(|line| line.contains("  rhizome ") || line.contains("`rhizome "));
            assert_eq!(wrong, None);
        }
        let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        for name in NOT_OF_THE_PLUGIN {
            assert!(names.contains(&name), "{name}");
        }
    }
}
