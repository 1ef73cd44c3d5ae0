//! `rhizome mounts`: what is mounted in every mount namespace.

use crate::args::{self, Global, MountFilter, MountFormat, Object};
use crate::exit::{Exit, Failure, Result};
use crate::{node, output};
use jiff::Timestamp;
use mount_table::node::Owner;
use mount_table::{Mount, MountTable, NamespaceView, Node, PeerGroup};
use std::path::{Component, Path, PathBuf};
use view::mounts::{Chosen, Column, Scene};

/// Prints them. No mount that is as asked for is a no.
pub(crate) fn run(global: &Global, args: &args::Mounts) -> Result {
    let filter = Filter::new(&args.filter)?;
    let node = node::read(global, &args.from)?;
    let views = namespaces(global, args, &node)?;
    let chosen: Vec<Chosen<'_>> = views
        .into_iter()
        .filter(|view| filter.takes_owner(view))
        .map(|namespace| Chosen { namespace, rows: filter.rows(&namespace.mounts) })
        .collect();
    print(args, &node, &chosen)?;
    node::say_gaps_of(&node, |id| chosen.iter().any(|chosen| chosen.namespace.id == id));
    let any = chosen.iter().any(|chosen| !chosen.rows.is_empty());
    Ok(if any { Exit::YES } else { Exit::NO })
}

/// Which are meant, each once, in the order in which they were named.
fn namespaces<'a>(global: &Global, args: &args::Mounts, node: &'a Node) -> Result<Vec<&'a NamespaceView>> {
    if args.all {
        return Ok(node.namespaces.iter().collect());
    }
    if args.targets.is_empty() {
        // Of a file: the host's, which is what whoever took it away meant.
        let own = args.from.snapshot.is_none().then_some(node.reader).flatten();
        let own = own.and_then(|id| node.namespace(id)).or_else(|| node.host());
        let none = || Failure::no(anyhow::anyhow!("which mount namespace this is could not be read"));
        return Ok(vec![own.ok_or_else(|| none().hint("-A shows all that can be read"))?]);
    }
    let mut views: Vec<&NamespaceView> = Vec::new();
    for target in &args.targets {
        for view in node::resolve(node, global, target)? {
            if !views.iter().any(|known| known.id == view.id) {
                views.push(view);
            }
        }
    }
    Ok(views)
}

fn print(args: &args::Mounts, node: &Node, chosen: &[Chosen<'_>]) -> Result<()> {
    let scene = Scene::of(node);
    let (now, header) = (Timestamp::now(), !args.no_headers);
    let several = chosen.len() > 1;
    match &args.output {
        MountFormat::Table(more) => {
            let mut columns = Column::usual(several, false);
            // Before the last one, which is the longest.
            for column in more.iter().filter(|column| !Column::usual(several, false).contains(column)) {
                columns.insert(columns.len() - 1, *column);
            }
            output::stdout(&view::mounts::table(&scene, chosen, &columns, header, now))
        }
        MountFormat::Wide => {
            let columns = Column::usual(several, true);
            output::stdout(&view::mounts::table(&scene, chosen, &columns, header, now))
        }
        MountFormat::Tree => {
            let columns = Column::usual(false, false);
            output::stdout(&view::mounts::tree(&scene, chosen, &columns, header, now))
        }
        MountFormat::Json => output::document(&view::mounts::document(&scene, chosen), Object::Json),
        MountFormat::Yaml => output::document(&view::mounts::document(&scene, chosen), Object::Yaml),
        MountFormat::Name => {
            let with_rows = chosen.iter().filter(|chosen| !chosen.rows.is_empty());
            let name =
                |chosen: &Chosen<'_>| format!("{}\n", view::text::printable(&node.target(chosen.namespace)));
            output::stdout(&with_rows.map(name).collect::<String>())
        }
    }
}

/// What of a [`MountFilter`] could be wrong has been looked at.
struct Filter<'a> {
    /// Types, and whether these are the ones that are not wanted.
    types: Option<(Vec<&'a str>, bool)>,
    target: Option<PathBuf>,
    asked: &'a MountFilter,
}

impl<'a> Filter<'a> {
    fn new(asked: &'a MountFilter) -> Result<Filter<'a>> {
        // As mount(8) and findmnt(8) read it: `no` before the first is for all.
        let types = (!asked.types.is_empty()).then(|| {
            let excluded = asked.types[0].starts_with("no");
            let name = |name: &'a String| name.strip_prefix("no").filter(|_| excluded).unwrap_or(name);
            (asked.types.iter().map(name).collect(), excluded)
        });
        let target = asked.target.as_deref().map(plain).transpose()?;
        if let Some(owner) = &asked.owner
            && !OWNERS.contains(&owner.as_str())
        {
            let text = format!("there is no kind of owner {owner:?}: it is {}", OWNERS.join(", "));
            return Err(Failure::wrong_use(text));
        }
        Ok(Filter { types, target, asked })
    }

    fn takes_owner(&self, view: &NamespaceView) -> bool {
        let Some(asked) = &self.asked.owner else { return true };
        let runtime = view.container().and_then(|container| container.runtime);
        kind(&view.owner) == asked || runtime.is_some_and(|runtime| runtime.to_string() == *asked)
    }

    fn rows(&self, table: &MountTable) -> Vec<usize> {
        let rows = table.mounts.iter().enumerate();
        rows.filter(|(_, mount)| self.takes(mount)).map(|(at, _)| at).collect()
    }

    fn takes(&self, mount: &Mount) -> bool {
        let is_type = |name: &&str| {
            mount.fs_type == *name
                || mount.fs_type.strip_prefix(*name).is_some_and(|rest| rest.starts_with('.'))
        };
        let by_type =
            self.types.as_ref().is_none_or(|(types, excluded)| types.iter().any(is_type) != *excluded);
        let by_source = self.asked.source.as_ref().is_none_or(|source| mount.source == *source);
        let by_target = self.target.as_ref().is_none_or(|target| mount.mount_point.starts_with(target));
        let propagation = &mount.propagation;
        let by_group = self
            .asked
            .group
            .is_none_or(|group| [propagation.shared, propagation.master].contains(&Some(PeerGroup(group))));
        let by_propagation = self.asked.propagation.as_deref().is_none_or(|asked| match asked {
            "shared" => propagation.is_shared(),
            "slave" => propagation.is_slave(),
            "unbindable" => propagation.unbindable,
            _ => propagation.is_private(),
        });
        by_type && by_source && by_target && by_group && by_propagation
    }
}

const OWNERS: [&str; 12] = [
    "host",
    "container",
    "service",
    "processes",
    "kept",
    "rhizome",
    "containerd",
    "cri-o",
    "docker",
    "podman",
    "machine",
    "lxc",
];

fn kind(owner: &Owner) -> &'static str {
    match owner {
        Owner::Host => "host",
        Owner::Container(_) => "container",
        Owner::Service { .. } => "service",
        Owner::Processes => "processes",
        Owner::Kept => "kept",
        Owner::Unknown => "unknown",
    }
}

/// The path as rows have it: absolute, without `.`, `..` and slashes at the end. Links are not followed, since the
/// path is of another namespace, perhaps of another machine.
fn plain(path: &Path) -> Result<PathBuf> {
    if !path.is_absolute() {
        return Err(Failure::wrong_use(format!("{} is not absolute", path.display())));
    }
    let mut plain = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::Normal(name) => plain.push(name),
            _ => {}
        }
    }
    Ok(plain)
}
