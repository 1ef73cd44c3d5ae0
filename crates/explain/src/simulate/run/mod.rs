//! Runs a line: the calls of its tool, one after the other, each given to the model, and what it changed told. What the
//! tools do between the calls is in the modules by what they do it to.

mod file_system_types;
mod files;
mod mount;
mod unknown;
mod unmount;

use super::mount::MountLine;
use super::outcome::{Call, Fault, Step, refused_by_tool};
use super::script::{Command, Line};
use super::simulation::{Places, Simulation};
use super::told::{call_text, events};
use super::tools::ToolLine;
use mount_table::MountTable;
use std::path::{Component, Path, PathBuf};
use subtree_model::{Effects, Missing, Op, Refused, RuleId, TaskId, World};

/// A line being run.
struct Run<'a> {
    simulation: &'a mut Simulation,
    task: TaskId,
    /// Before the next call.
    places: Places,
    calls: Vec<Call>,
}

/// Runs a line.
pub(super) fn step(simulation: &mut Simulation, line: &Line) -> Step {
    let mut run = Run { places: simulation.places(), simulation, task: TaskId(u32::MAX), calls: Vec::new() };
    let fault = run.line(line).err();
    Step {
        line: line.number,
        text: line.text.clone(),
        namespace: line.namespace.clone(),
        calls: run.calls,
        fault,
    }
}

/// Whether something is a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Directory,
    NoDirectory,
}

impl Run<'_> {
    fn line(&mut self, line: &Line) -> Result<(), Fault> {
        self.task =
            self.simulation.task(&line.namespace).ok_or(Fault::from(Refused::from(RuleId::NoSuchTask)))?;
        match &line.command {
            Command::Namespace { name, user } => self.namespace(name, *user),
            Command::Mount(MountLine::Nothing) | Command::Tool(ToolLine::Nothing) => Ok(()),
            Command::Mount(MountLine::Refused(why)) | Command::Tool(ToolLine::Refused(why)) => {
                Err(refused_by_tool(why))
            }
            Command::Mount(MountLine::Calls { make_target, calls }) => {
                if let Some(target) = make_target
                    && self.there(target).is_err()
                {
                    self.make_parents(target)?;
                }
                self.mount_calls(calls)
            }
            Command::Tool(tool) => self.tool(tool),
        }
    }

    fn namespace(&mut self, name: &str, user: bool) -> Result<(), Fault> {
        let text = if user { "unshare(CLONE_NEWUSER|CLONE_NEWNS)" } else { "unshare(CLONE_NEWNS)" };
        let made = self.simulation.copy_namespace(self.task, user).map(|(task, effects)| {
            self.simulation.namespaces.push((name.to_owned(), task));
            effects
        });
        self.tell(text.to_owned(), made)
    }

    fn call(&mut self, op: &Op) -> Result<(), Fault> {
        let result = self.simulation.world.apply(self.task, op);
        let unknown = match &result {
            Ok(effects) if !self.simulation.known => self.unknown(op, effects),
            _ => Vec::new(),
        };
        let told = self.tell(call_text(op), result);
        self.calls.iter_mut().next_back().into_iter().for_each(|call| call.unknown.clone_from(&unknown));
        told
    }

    fn tell(&mut self, text: String, result: Result<Effects, Refused>) -> Result<(), Fault> {
        let (events, fault) = match result {
            Ok(effects) => {
                let after = self.simulation.places();
                let events = events(&effects, &self.simulation.namespaces, &self.places, &after);
                self.places = after;
                (events, None)
            }
            Err(refused) => (Vec::new(), Some(Fault::from(refused))),
        };
        self.calls.push(Call { text, fault: fault.clone(), events, unknown: Vec::new() });
        fault.map_or(Ok(()), Err)
    }

    /// A call that the model is not asked about, and its error.
    fn fails(&mut self, text: String, fault: Fault) -> Result<(), Fault> {
        let events = Vec::new();
        self.calls.push(Call { text, fault: Some(fault.clone()), events, unknown: Vec::new() });
        Err(fault)
    }

    /// What a path leads to, without a call of the line's.
    fn there(&mut self, path: &Path) -> Result<There, Refused> {
        let world = &mut self.simulation.world;
        let look = |world: &mut World, path: &Path| {
            let child = world.fork(self.task)?;
            let went = world.apply(child, &Op::ChangeDirectory { path: path.to_path_buf() });
            world.exit(child)?;
            went
        };
        match look(world, path) {
            Ok(_) => Ok(There::Directory),
            Err(refused) if refused.rule == RuleId::PathNotDirectory => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                look(world, parent.unwrap_or(Path::new("."))).map(|_| There::NoDirectory)
            }
            Err(refused) => Err(refused),
        }
    }

    fn table(&self) -> MountTable {
        self.simulation.world.table(self.task).unwrap_or_default()
    }

    fn tool(&mut self, line: &ToolLine) -> Result<(), Fault> {
        match line {
            ToolLine::Unmount(unmount) => self.unmount(unmount),
            ToolLine::PivotRoot { new_root, put_old } => {
                self.call(&Op::PivotRootTo { new_root: new_root.clone(), put_old: put_old.clone() })
            }
            ToolLine::MakeDirectories { paths, parents: true } => {
                self.each(paths, |run, path| run.make_parents(path))
            }
            ToolLine::MakeDirectories { paths, parents: false } => {
                self.each(paths, |run, path| run.create(path, Missing::Directory))
            }
            ToolLine::Touch { paths, create } => self.each(paths, |run, path| run.touch(path, *create)),
            ToolLine::RemoveDirectories { paths, parents } => {
                self.each(paths, |run, path| run.remove_directories(path, *parents))
            }
            ToolLine::Rename { from, to, into } => self.rename(from, to, *into),
            ToolLine::Refused(why) => Err(refused_by_tool(why)),
            ToolLine::Nothing => Ok(()),
        }
    }

    /// Goes on after a failure, as the tools do; the first one counts.
    fn each<T>(
        &mut self,
        all: &[T],
        mut one: impl FnMut(&mut Self, &T) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut first = Ok(());
        for item in all {
            let result = one(self, item);
            if first.is_ok() {
                first = result;
            }
        }
        first
    }
}

/// A path from the root, without dots: shells here are at `/`.
fn absolute(path: &Path) -> PathBuf {
    let mut absolute = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => absolute.push(name),
            Component::ParentDir => {
                absolute.pop();
            }
            _ => {}
        }
    }
    absolute
}
