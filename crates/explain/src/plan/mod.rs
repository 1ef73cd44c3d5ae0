//! What manifests will do on a node, before anything is done: what the API server, the kubelet and the runtimes will say,
//! who will see whose mounts, what would be left where.
//!
//! Manifests become container mounts as the kubelet makes them (`pods`), those become operations by the builder that
//! the runtime itself uses ([`crate::build`]), and these are given to the model of the kernel, beginning with the
//! node's mounts. All answers are then read off that world, by doing in a copy of it what is asked about: somebody
//! mounts, somebody unmounts, a container ends and starts again.
//!
//! Architecture invariant: nothing is told of propagation that the model was not asked. A reason is the rule that the
//! model gives, never a second reckoning.
//!
//! Deliberately absent: looking at the node. Its mounts and what lies at the paths are arguments ([`Node`]).

mod findings;
mod growth;
mod matrix;
mod node;
mod pods;
mod stage;
#[cfg(test)]
mod tests;

pub use growth::{Growth, RUNTIMES, Runtime, RuntimeReport, Start};
pub use matrix::{Cell, MAX_PARTIES, Matrix, Nested, Party, Reach};
pub use node::{Node, Origin, Source, There};
pub use pods::{ContainerAsked, MountAsked, Sort, VolumeKind};

use crate::finding::Finding;
use crate::simulate::{HOST, Script, ScriptError, Simulation, Step};
use manifest::kinds::serves;
use manifest::load::{Surveyed, look_through_claims};
use manifest::problem::{Problem, Stage as ProblemStage};
use pods::PodAsked;
use stage::Stage;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What is asked of a plan beside the manifests.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Where the pods would run.
    pub node: &'a Node,
    /// Lines of a script ([`crate::simulate`]), run once all containers run: in `host`, or with `@POD/CONTAINER` in
    /// one of them.
    pub then: &'a [String],
    /// How often each container is started again, to see what grows.
    pub restarts: u32,
}

/// What will be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the API server says against the manifests; such objects would not come to be.
    pub refused: Vec<Problem>,
    /// What this version of rhizome says against them beside.
    pub unsupported: Vec<Problem>,
    /// Every container of every pod.
    pub containers: Vec<ContainerPlan>,
    /// Who sees whose mounts, for each place of the node that a container has a volume of.
    pub matrices: Vec<Matrix>,
    /// What each runtime would leave on the node.
    pub runtimes: Vec<RuntimeReport>,
    /// What else there is to say.
    pub findings: Vec<Finding>,
    /// What came of the lines of [`Request::then`].
    pub then: Vec<Step>,
}

/// A container, and whether it would start.
#[derive(Debug, Clone)]
pub struct ContainerPlan {
    /// What it asks for.
    pub asked: ContainerAsked,
    /// Why it would not start: in the kubelet's words, else in containerd's, which are also rhizome's.
    pub fault: Option<Fault>,
    /// How many operations rhizome makes of its mounts.
    pub operations: usize,
}

/// Why a container would not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Who says it.
    pub who: &'static str,
    /// In whose words.
    pub text: String,
    /// What the user can do.
    pub hint: Option<String>,
}

impl Plan {
    /// Whether everything would start.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.refused.is_empty() && self.containers.iter().all(|container| container.fault.is_none())
    }
}

/// The most pods that are planned together: a node has a hundred or two, and each is in the model for as long as the plan.
pub const MAX_PODS: usize = 2000;

/// Manifests, read: what is wrong with one does not keep the rest from being planned.
#[derive(Debug, Default)]
pub struct Manifests {
    refused: Vec<Problem>,
    unsupported: Vec<Problem>,
    objects: Vec<Surveyed>,
}

impl Manifests {
    /// Reads sources.
    #[must_use]
    pub fn survey(sources: &[manifest::Source<'_>]) -> Manifests {
        let mut manifests = Manifests::default();
        for source in sources {
            let mut survey = manifest::survey(source);
            keep_objects(&mut survey.problems);
            for problem in survey.problems {
                match problem.stage {
                    ProblemStage::Unsupported => manifests.unsupported.push(problem),
                    // Of equal keys kubectl sends the last; a warning is no refusal.
                    ProblemStage::Repeated | ProblemStage::Warned => {}
                    // A cluster may serve it: of another group, or of an older Kubernetes.
                    ProblemStage::Kind if !serves(&problem.object.api_version) => {}
                    _ => manifests.refused.push(problem),
                }
            }
            manifests.objects.append(&mut survey.objects);
        }
        look_through_claims(&mut manifests.objects.iter_mut().collect::<Vec<_>>());
        manifests
    }

    /// How many pods they are or make: more than [`MAX_PODS`] are not to be planned together.
    #[must_use]
    pub fn pods(&self) -> usize {
        self.objects.iter().filter(|object| object.pod.is_some()).count()
    }

    /// The paths of the node that volumes are of, and what must be in those that are read-only: what [`Node::sources`] may know.
    #[must_use]
    pub fn host_paths(&self) -> BTreeSet<PathBuf> {
        let specs = self.objects.iter().filter_map(|object| object.pod.as_ref());
        let volumes = specs.clone().flat_map(|pod| pod.spec.volumes.iter().flatten());
        let places = volumes.filter_map(|volume| Some(PathBuf::from(&volume.host_path.as_ref()?.path)));
        places.chain(specs.flat_map(|pod| pods::mount_points(&pod.spec))).collect()
    }
}

/// Plans all pods of the manifests, together on one node.
///
/// # Errors
/// A line of [`Request::then`] that is not one of a script's.
pub fn plan(manifests: &Manifests, request: &Request<'_>) -> Result<Plan, ScriptError> {
    let pods = manifests.objects.iter().filter_map(|object| PodAsked::of(object, request.node));
    let mut pods: Vec<PodAsked> = pods.collect();
    pods::tell_apart(&mut pods);
    // A line of a script may be about any mount.
    let concerned = if request.then.is_empty() { Some(node::concerned(request.node, &pods)) } else { None };
    let mut stage = Stage::new(request.node, concerned.as_ref().unwrap_or(&request.node.mounts));
    for pod in &pods {
        stage.prepare(pod);
    }
    // Before any container: what restarts are reckoned from.
    let bare = stage.clone();
    for container in pods.iter().flat_map(|pod| &pod.containers) {
        stage.start(container);
    }
    let matrices = matrix::matrices(&stage);
    let findings = findings::findings(&stage, &bare);
    let runtimes = growth::reports(&bare, &stage, request.restarts);
    let then = run_then(&stage, request.then)?;
    Ok(Plan {
        refused: manifests.refused.clone(),
        unsupported: manifests.unsupported.clone(),
        containers: stage.into_containers(),
        matrices,
        runtimes,
        findings,
        then,
    })
}

/// A document with neither apiVersion nor kind is no attempt at an object (a chart's values, say).
fn keep_objects(problems: &mut Vec<Problem>) {
    let shapeless: Vec<usize> =
        problems.iter().filter(|p| p.stage == ProblemStage::Shape).map(|p| p.document).collect();
    problems.retain(|problem| {
        let twice = shapeless.iter().filter(|other| **other == problem.document).count() > 1;
        !(problem.stage == ProblemStage::Shape && twice)
    });
}

fn run_then(stage: &Stage<'_>, lines: &[String]) -> Result<Vec<Step>, ScriptError> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let running = stage.running().map(|(container, started)| (container.asked.id(), started.task));
    let namespaces = std::iter::once((HOST.to_owned(), subtree_model::World::FIRST_TASK)).chain(running);
    let mut simulation = Simulation::of_world(stage.world.clone(), namespaces.collect());
    let script = {
        let names: Vec<&str> = simulation.names().collect();
        Script::parse_with(&lines.join("\n"), names)?
    };
    Ok(script.lines().iter().map(|line| simulation.step(line)).collect())
}
