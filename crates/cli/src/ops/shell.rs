//! `rhizome completions` and `rhizome man`: what shells and man(1) read.

use crate::args::{self, Shell};
use crate::command::command;
use crate::exit::{Context as _, Exit, Failure, Result};
use crate::output;
use clap_complete::env::Shells;

/// The variable by which a shell's script asks us.
pub(crate) const ASKED_BY: &str = "COMPLETE";

/// Prints the script that makes a shell complete: it asks this program at each key, so that it knows the pods.
pub(crate) fn completions(args: &args::Completions) -> Result {
    let name = match args.shell {
        Shell::Bash => "bash",
        Shell::Fish => "fish",
        Shell::Zsh => "zsh",
    };
    let shells = Shells::builtins();
    let shell = shells
        .completer(name)
        .ok_or_else(|| Failure::wrong_use(format!("there are no completions for {name}")))?;
    let mut script = Vec::new();
    shell.write_registration(ASKED_BY, "rhizome", "rhizome", "rhizome", &mut script)?;
    output::stdout_bytes(&script)?;
    Ok(Exit::YES)
}

/// Prints the page of the whole, or writes one for each command into a folder.
pub(crate) fn man(args: &args::Man) -> Result {
    match &args.folder {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command()).render(&mut page)?;
            output::stdout_bytes(&page)?;
        }
        Some(folder) => {
            let writing = || format!("writing to {}", folder.display());
            std::fs::create_dir_all(folder).context(writing())?;
            clap_mangen::generate_to(command(), folder).context(writing())?;
        }
    }
    Ok(Exit::YES)
}
