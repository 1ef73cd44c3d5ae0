//! `rhizome node` and `rhizome kubeconfig`: the door for kubectl.

use crate::args::{self, Global};
use crate::exit::{Context as _, Exit, Failure, Result};
use crate::output;
use crate::world::{self, World};
use serve::{Config, Ready};

/// Is a node until it is told to end.
pub(crate) fn run(global: &Global, args: &args::Node) -> Result {
    // This starts the program again, once: supervisors are executed from the path that it runs from.
    sys::process::ensure_read_only_exe().context("running from a read-only path")?;
    world::before_starting(global, args.isolated)?;
    // As long as the node runs, the root's mount namespace is not ended under it.
    let world = World::open_for_creating(global, args.isolated)?;
    // Entering the root's mount namespace has not changed what a path means to who typed it.
    let manifests = args.manifests.as_deref().map(std::path::absolute).transpose()?;
    let network = args.network.places().context("naming the folders of CNI")?;
    let config = Config { root: world.client.root().clone(), listen: args.listen, manifests, network };
    let ended = serve::run(&config, say_ready);
    let closed = world.end_if_unused();
    ended?;
    closed.map(|_| Exit::YES)
}

/// The one line on standard output, for who waits for it.
fn say_ready(ready: &Ready) {
    let line = format!("ready: kubectl --kubeconfig {}\n", ready.kubeconfig.display());
    // Nobody may be there to read it; the node is ready all the same.
    let _ = output::stdout(&line);
    output::note(&format!("https://{} and {}", ready.address, ready.socket.display()));
}

/// Prints the kubeconfig, or where it is.
pub(crate) fn kubeconfig(global: &Global, args: &args::Kubeconfig) -> Result {
    let path = serve::kubeconfig_path(&world::root(global));
    let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            let text = format!("there is no kubeconfig: {} does not exist", path.display());
            Failure::no(anyhow::Error::msg(text)).hint("`rhizome node` makes it")
        }
        _ => Failure::from(error).said(format!("reading {}", path.display())),
    })?;
    match args.path {
        true => output::stdout(&format!("{}\n", path.display()))?,
        false => output::stdout(&text)?,
    }
    Ok(Exit::YES)
}
