//! From sources to objects: all of them valid and defaulted, or all that is wrong with them.

mod claims;
mod kind;
mod survey;

pub use survey::{PodTemplate, Survey, Surveyed, look_through_claims, survey};

use crate::claims::ClaimPlace;
use crate::decode::{self, Decoded, Misfit, MisfitKind};
use crate::field::{FieldError, FieldErrors};
use crate::kinds;
use crate::problem::{ObjectId, Problem, Stage, go_quote};
use crate::source::{Lines, Position, Source, Span};
use crate::support::{self, Note, Remark};
use crate::tree::{self, MAX_BYTES, Node, Value};
use crate::validate::Workload;
use crate::workloads::JobTerms;
use crate::{defaults, validate, workloads};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kind::Kind;
use std::collections::{BTreeMap, HashSet};

/// Problems after which no further document is looked at. One document can have some more.
const MAX_PROBLEMS: usize = 1000;

/// `--validate`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValidationMode {
    /// Unknown fields are errors.
    #[default]
    Strict,
    /// Unknown fields are warnings, and left out.
    Warn,
    /// Unknown fields are left out silently.
    Ignore,
}

/// How to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options<'a> {
    /// What becomes of unknown fields.
    pub validation: ValidationMode,
    /// The namespace that the user asked for (`-n`). Objects without one get it, objects with another are refused;
    /// without it they get `default`.
    pub namespace: Option<&'a str>,
}

/// An object that can be run or used.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// A Pod.
    Pod(Box<Pod>),
    /// A ConfigMap.
    ConfigMap(ConfigMap),
    /// A Secret.
    Secret(Secret),
    /// What makes Pods, which follow it.
    Workload(Box<Workload>),
    /// A PersistentVolume.
    PersistentVolume(Box<PersistentVolume>),
    /// A PersistentVolumeClaim; those that a StatefulSet makes follow it.
    PersistentVolumeClaim(Box<PersistentVolumeClaim>),
}

/// An object and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedObject {
    /// The object, valid and with defaults filled in.
    pub object: Object,
    /// Kind, name, namespace.
    pub id: ObjectId,
    /// Name of its source.
    pub source_name: String,
    /// Where it begins there.
    pub position: Position,
}

/// What loading gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Loaded {
    /// In the order of the sources.
    pub objects: Vec<LoadedObject>,
    /// What is strange but no error; draw them with [`Problem::render_warning`].
    pub warnings: Vec<Problem>,
    /// What is accepted and has no meaning on one machine, or is done in another way than in a cluster.
    pub notes: Vec<Note>,
    /// Where the claims of these files are, by namespace and name.
    pub claims: BTreeMap<String, BTreeMap<String, ClaimPlace>>,
}

impl Object {
    /// Its metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Pod(pod) => &pod.metadata,
            Self::ConfigMap(map) => &map.metadata,
            Self::Secret(secret) => &secret.metadata,
            Self::Workload(workload) => &workload.metadata,
            Self::PersistentVolume(volume) => &volume.metadata,
            Self::PersistentVolumeClaim(claim) => &claim.metadata,
        }
    }
}

impl Loaded {
    /// The Pods, those of workloads too.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.objects.iter().filter_map(|loaded| match &loaded.object {
            Object::Pod(pod) => Some(pod.as_ref()),
            _ => None,
        })
    }

    /// The terms of the Job that a Pod is of.
    #[must_use]
    pub fn job_of(&self, pod: &Pod) -> Option<JobTerms> {
        let ("Job", name) = workloads::owner(pod)? else { return None };
        let namespace = pod.metadata.namespace.as_deref();
        self.objects.iter().find_map(|loaded| match &loaded.object {
            Object::Workload(job)
                if job.metadata.name.as_deref() == Some(name)
                    && job.metadata.namespace.as_deref() == namespace =>
            {
                workloads::job_terms(job)
            }
            _ => None,
        })
    }

    /// The ConfigMaps.
    pub fn config_maps(&self) -> impl Iterator<Item = &ConfigMap> {
        self.objects.iter().filter_map(|loaded| match &loaded.object {
            Object::ConfigMap(config_map) => Some(config_map),
            _ => None,
        })
    }

    /// The Secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.objects.iter().filter_map(|loaded| match &loaded.object {
            Object::Secret(secret) => Some(secret),
            _ => None,
        })
    }
}

/// Loads all objects of all sources, or tells all that is wrong with all of them.
///
/// # Errors
/// Every problem of every source. [`crate::problem::kubectl_text`] says them as `kubectl create` does.
pub fn load(sources: &[Source<'_>], options: &Options<'_>) -> Result<Loaded, Vec<Problem>> {
    let mut loader = Loader::new(options);
    for source in sources {
        loader.source(source);
    }
    loader.bind_claims();
    if loader.problems.is_empty() && loader.loaded.objects.is_empty() {
        let message = "no objects passed to create".to_owned();
        loader.problems.push(Problem::new("", &Lines::new(""), Stage::Nothing, Span::default(), message));
    }
    if loader.problems.is_empty() { Ok(loader.loaded) } else { Err(loader.problems) }
}

struct Loader<'a> {
    options: Options<'a>,
    loaded: Loaded,
    problems: Vec<Problem>,
    seen: HashSet<(String, String, String)>,
    /// What a claim that cannot be bound is told, but for the words; in the claims' order.
    of_claims: Vec<Problem>,
    /// Every object, if they are asked for.
    surveyed: Option<Vec<Surveyed>>,
}

/// Where in a source the loader is.
#[derive(Clone, Copy)]
struct Place<'a> {
    source: &'a Source<'a>,
    lines: &'a Lines<'a>,
    document: usize,
    item: usize,
}

impl Place<'_> {
    fn problem(&self, stage: Stage, span: Span, message: impl Into<String>) -> Problem {
        let mut problem = Problem::new(self.source.name, self.lines, stage, span, message.into());
        problem.document = self.document;
        problem.item = self.item;
        problem
    }
}

impl<'a> Loader<'a> {
    fn new(options: &Options<'a>) -> Self {
        Self {
            options: *options,
            loaded: Loaded::default(),
            problems: Vec::new(),
            seen: HashSet::new(),
            of_claims: Vec::new(),
            surveyed: None,
        }
    }
}

impl Loader<'_> {
    fn source(&mut self, source: &Source<'_>) {
        let text = match text_of(source) {
            Ok(text) => text,
            Err((message, at)) => {
                // What stands before the fault can be shown.
                let text = String::from_utf8_lossy(&source.bytes[..at.min(source.bytes.len())]);
                let problem =
                    Problem::new(source.name, &Lines::new(&text), Stage::Parse, Span::at(at), message);
                self.problems.push(problem);
                return;
            }
        };
        let lines = Lines::new(text);
        for (document, parsed) in tree::parse_documents(text).into_iter().enumerate() {
            let place = Place { source, lines: &lines, document, item: 0 };
            if self.problems.len() > MAX_PROBLEMS {
                let message = format!("more than {MAX_PROBLEMS} problems: what follows is not looked at");
                let mut problem = place.problem(Stage::Parse, Span::at(parsed.start), message);
                problem.told_by_kubernetes = false;
                return self.problems.push(problem);
            }
            let before = self.problems.len();
            match parsed.root {
                Ok(root) => self.document(place, &root),
                Err(error) => {
                    let stage = if error.at_separator { Stage::Separator } else { Stage::Parse };
                    self.problems.push(place.problem(stage, error.span, error.message));
                }
            }
            if let Some(error) = parsed.behind {
                // `kubectl` never sees it, and would go on without it; here nothing is left out silently.
                let mut problem = place.problem(Stage::Parse, error.span, error.message);
                problem.told_by_kubernetes = self.problems.len() == before;
                self.problems.push(problem);
            }
        }
    }

    fn document(&mut self, place: Place<'_>, root: &Node) {
        let faults = shape_faults(root);
        if !faults.is_empty() {
            for (fault, span) in faults {
                self.problems.push(place.problem(Stage::Shape, span, fault));
            }
            return;
        }
        let kind = root.get("kind").and_then(Node::as_str).unwrap_or_default();
        if let (true, Some(Value::Sequence(items))) =
            (kind.ends_with("List"), root.get("items").map(|node| &node.value))
        {
            for (item, node) in items.iter().enumerate() {
                self.item(Place { item, ..place }, node);
            }
            return;
        }
        self.item(place, root);
    }

    /// A document, or an item of a list.
    fn item(&mut self, place: Place<'_>, node: &Node) {
        for field in ["kind", "apiVersion"] {
            if node.get(field).and_then(Node::as_str).is_none_or(str::is_empty) {
                let shown = decode::any(node).to_string();
                let what = if field == "kind" { "Kind" } else { field };
                let message = format!("Object '{what}' is missing in '{shown}'");
                self.problems.push(place.problem(Stage::Metadata, node.locate(""), message));
                return;
            }
        }
        self.object(place, node);
    }

    fn object(&mut self, place: Place<'_>, node: &Node) {
        let text = |path: &[&str]| {
            path.iter()
                .try_fold(node, |node, key| node.get(key))
                .and_then(Node::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let mut id = ObjectId {
            api_version: text(&["apiVersion"]),
            kind: text(&["kind"]),
            name: text(&["metadata", "name"]),
            namespace: text(&["metadata", "namespace"]),
        };
        if let Some(surveyed) = &mut self.surveyed {
            surveyed.push(Surveyed::read(&place, &id, node));
        }
        let metadata = decode::decode(node, "metadataOnlyObject");
        if let Some(refusal) = metadata.refusal() {
            let mut problems = self.misfits(&place, &id, &metadata, Stage::Metadata);
            let told = refusal.message.clone();
            problems.iter_mut().for_each(|problem| problem.told_by_kubernetes = problem.message == told);
            self.problems.append(&mut problems);
            return;
        }
        if let Some(problem) = self.kind_problem(&place, &id, node) {
            self.problems.push(problem);
            return;
        }
        match (id.api_version.as_str(), id.kind.as_str()) {
            ("v1", "Pod") => self.typed::<Pod>(place, node, &mut id, "v1.Pod"),
            ("v1", "ConfigMap") => self.typed::<ConfigMap>(place, node, &mut id, "v1.ConfigMap"),
            ("v1", "Secret") => self.typed::<Secret>(place, node, &mut id, "v1.Secret"),
            ("v1", "PersistentVolume") => {
                self.typed::<PersistentVolume>(place, node, &mut id, "v1.PersistentVolume");
            }
            ("v1", "PersistentVolumeClaim") => {
                self.typed::<PersistentVolumeClaim>(place, node, &mut id, "v1.PersistentVolumeClaim");
            }
            (api_version, kind) => match validate::schema_of(api_version, kind) {
                Some(schema) if validate::is_workload(kind) => {
                    self.typed::<Workload>(place, node, &mut id, schema);
                }
                _ if kinds::has_no_meaning(kind) => {
                    self.loaded.notes.push(Note { object: id, remark: Remark::KindWithoutMeaning });
                }
                schema => self.not_yet(&place, node, &id, schema),
            },
        }
    }

    fn kind_problem(&self, place: &Place<'_>, id: &ObjectId, node: &Node) -> Option<Problem> {
        let (kind, api_version) = (id.kind.as_str(), id.api_version.as_str());
        let mut problem = if !kinds::is_known(api_version, kind) {
            let message =
                format!("no matches for kind {} in version {}", go_quote(kind), go_quote(api_version));
            match kinds::api_version_of(kind) {
                Some(right) => {
                    let mut problem = place.problem(Stage::Kind, node.locate("apiVersion"), message);
                    problem.suggestion = Some(right.to_owned());
                    problem
                }
                None => {
                    let mut problem = place.problem(Stage::Kind, node.locate("kind"), message);
                    problem.suggestion = kinds::nearest(kind).map(str::to_owned);
                    problem
                }
            }
        } else if kinds::canonical(kind) != kind {
            let version = api_version.rsplit('/').next().unwrap_or_default();
            let message = format!(
                "no kind {} is registered for version {} in scheme \"pkg/runtime/scheme.go:111\"",
                go_quote(kind),
                go_quote(version)
            );
            let mut problem = place.problem(Stage::Decode, node.locate("kind"), message);
            problem.suggestion = Some(kinds::canonical(kind).to_owned());
            problem
        } else {
            return None;
        };
        problem.object = id.clone();
        Some(problem)
    }

    fn push(&mut self, place: &Place<'_>, id: &ObjectId, stage: Stage, span: Span, message: String) {
        let mut problem = place.problem(stage, span, message);
        problem.object = id.clone();
        self.problems.push(problem);
    }

    fn misfits(&self, place: &Place<'_>, id: &ObjectId, decoded: &Decoded, stage: Stage) -> Vec<Problem> {
        let strict = self.options.validation == ValidationMode::Strict;
        let refused = decoded.refusal().cloned();
        let wanted = |misfit: &&Misfit| match misfit.kind {
            MisfitKind::Unknown => strict && stage == Stage::Decode,
            MisfitKind::Duplicate => false,
            MisfitKind::WrongType | MisfitKind::Refused => true,
        };
        decoded
            .misfits
            .iter()
            .filter(wanted)
            .map(|misfit| {
                let stage = if misfit.kind == MisfitKind::Unknown { Stage::Strict } else { stage };
                let mut problem = place.problem(stage, misfit.span, misfit.message.clone());
                problem.object = id.clone();
                problem.path.clone_from(&misfit.path);
                problem.suggestion.clone_from(&misfit.suggestion);
                problem.told_by_kubernetes = refused.as_ref().is_none_or(|refused| refused == misfit);
                problem
            })
            .collect()
    }

    fn warn(&mut self, place: &Place<'_>, id: &ObjectId, decoded: &Decoded) {
        for misfit in &decoded.misfits {
            let wanted = match misfit.kind {
                MisfitKind::Unknown => self.options.validation == ValidationMode::Warn,
                MisfitKind::Duplicate => self.options.validation != ValidationMode::Ignore,
                MisfitKind::WrongType | MisfitKind::Refused => false,
            };
            if !wanted {
                continue;
            }
            let stage = if misfit.kind == MisfitKind::Duplicate { Stage::Repeated } else { Stage::Strict };
            let mut problem = place.problem(stage, misfit.span, misfit.message.clone());
            problem.object = id.clone();
            problem.path.clone_from(&misfit.path);
            problem.suggestion.clone_from(&misfit.suggestion);
            self.loaded.warnings.push(problem);
        }
    }

    fn typed<K: Kind>(&mut self, place: Place<'_>, node: &Node, id: &mut ObjectId, schema: &'static str) {
        let decoded = decode::decode(node, schema);
        let mut problems = self.misfits(&place, id, &decoded, Stage::Decode);
        let refused = !problems.is_empty();
        self.problems.append(&mut problems);
        self.warn(&place, id, &decoded);
        if refused {
            return;
        }
        let unknown: HashSet<String> = decoded.unknown().map(|misfit| misfit.path.clone()).collect();
        let mut object: K = match serde_json::from_value(decoded.json) {
            Ok(object) => object,
            // The schema lets nothing through that the type does not take; should it, the reason is told.
            Err(error) => return self.push(&place, id, Stage::Decode, node.locate(""), error.to_string()),
        };
        if let Err(message) = self.namespace(&mut object) {
            return self.push(&place, id, Stage::Namespace, node.locate("metadata.namespace"), message);
        }
        defaults::forget_the_servers_part(object.metadata_mut());
        object.default();
        let errors = object.validate();
        let valid = errors.is_empty();
        self.field_errors(&place, node, id, Stage::Invalid, errors);
        if valid {
            // Fields that are left out were warned of, or are to be passed over silently.
            let verdict = object.support(node, &unknown);
            let supported = verdict.errors.is_empty();
            self.field_errors(&place, node, id, Stage::Unsupported, verdict.errors);
            if supported {
                let warnings = self.problems_of(&place, node, id, Stage::Warned, object.warnings());
                self.loaded.warnings.extend(warnings);
                self.accept(&place, node, id, object, verdict.remarks);
            }
        }
    }

    /// A kind that is not run: refused by name, after what is wrong with its fields as far as its type is known.
    fn not_yet(&mut self, place: &Place<'_>, node: &Node, id: &ObjectId, schema: Option<&'static str>) {
        if let Some(schema) = schema {
            let decoded = decode::decode(node, schema);
            let mut problems = self.misfits(place, id, &decoded, Stage::Decode);
            self.warn(place, id, &decoded);
            if !problems.is_empty() {
                return self.problems.append(&mut problems);
            }
        }
        let message = format!("kind: {}", support::not_run(&id.kind));
        self.push(place, id, Stage::Unsupported, node.locate("kind"), message);
    }

    fn field_errors(
        &mut self,
        place: &Place<'_>,
        node: &Node,
        id: &ObjectId,
        stage: Stage,
        errors: FieldErrors,
    ) {
        let problems = self.problems_of(place, node, id, stage, errors);
        self.problems.extend(problems);
    }

    fn problems_of(
        &self,
        place: &Place<'_>,
        node: &Node,
        id: &ObjectId,
        stage: Stage,
        errors: FieldErrors,
    ) -> Vec<Problem> {
        let problem = |error: FieldError| {
            let mut problem = place.problem(stage, node.locate(&error.at), error.message);
            problem.object = id.clone();
            problem.path = error.path;
            problem.suggestion = error.suggestion;
            problem.check = error.check;
            problem
        };
        errors.list.into_iter().map(problem).collect()
    }

    /// Puts an object without a namespace in the one that is asked for.
    fn namespace<K: Kind>(&self, object: &mut K) -> Result<(), String> {
        if !K::NAMESPACED {
            return Ok(());
        }
        let has = object.metadata().namespace.as_deref().unwrap_or_default();
        match self.options.namespace {
            Some(asked) if !has.is_empty() && has != asked => Err(format!(
                "the namespace from the provided object {} does not match the namespace {}. You must pass '--namespace={has}' to perform this operation.",
                go_quote(has),
                go_quote(asked)
            )),
            asked => {
                if has.is_empty() {
                    object.metadata_mut().namespace = Some(asked.unwrap_or("default").to_owned());
                }
                Ok(())
            }
        }
    }

    fn accept<K: Kind>(
        &mut self,
        place: &Place<'_>,
        node: &Node,
        id: &mut ObjectId,
        object: K,
        remarks: Vec<Remark>,
    ) {
        let object = object.into_object();
        let made = match &object {
            Object::Workload(workload) => workloads::make(workload),
            _ => workloads::Made::default(),
        };
        if !self.accept_one(place, node, id, object) {
            return;
        }
        let note = |remark| Note { object: id.clone(), remark };
        self.loaded.notes.extend(remarks.into_iter().map(note));
        let claims = made.claims.into_iter().map(|claim| Object::PersistentVolumeClaim(Box::new(claim)));
        let pods = made.pods.into_iter().map(|pod| Object::Pod(Box::new(pod)));
        for object in claims.chain(pods) {
            let kind = if matches!(object, Object::Pod(_)) { "Pod" } else { "PersistentVolumeClaim" };
            let name = object.metadata().name.clone().unwrap_or_default();
            let mut id = ObjectId { api_version: "v1".into(), kind: kind.into(), name, ..id.clone() };
            // A claim that is there already is used.
            if kind == "Pod" || !self.has(&id) {
                self.accept_one(place, node, &mut id, object);
            }
        }
    }

    fn has(&self, id: &ObjectId) -> bool {
        self.seen.contains(&(id.kind.clone(), id.namespace.clone(), id.name.clone()))
    }

    /// Adds an object; says whether there was none of its name.
    fn accept_one(&mut self, place: &Place<'_>, node: &Node, id: &mut ObjectId, object: Object) -> bool {
        let metadata = object.metadata();
        id.namespace = metadata.namespace.clone().unwrap_or_default();
        let name = metadata.name.clone().unwrap_or_default();
        if !name.is_empty() && !self.seen.insert((id.kind.clone(), id.namespace.clone(), name)) {
            let message = format!("{} {} already exists", kinds::resource(&id.kind), go_quote(&id.name));
            self.push(place, id, Stage::Exists, node.locate("metadata.name"), message);
            return false;
        }
        if matches!(object, Object::PersistentVolumeClaim(_)) {
            let mut problem = place.problem(Stage::Unsupported, node.locate("spec"), "");
            problem.object = id.clone();
            problem.path = "spec".into();
            self.of_claims.push(problem);
        }
        let position = place.lines.position(node.locate("").start);
        let source_name = place.source.name.to_owned();
        self.loaded.objects.push(LoadedObject { object, id: id.clone(), source_name, position });
        true
    }
}

/// A source's text.
fn text_of<'a>(source: &Source<'a>) -> Result<&'a str, (String, usize)> {
    if source.bytes.len() > MAX_BYTES {
        return Err((format!("yaml: the file has more than {} MiB", MAX_BYTES >> 20), 0));
    }
    let text = std::str::from_utf8(source.bytes).map_err(|error| {
        let at = error.valid_up_to();
        let begins = source.bytes.get(at).is_some_and(|byte| (0xc2..0xf5).contains(byte));
        let what = match (begins, error.error_len()) {
            (true, None) => "incomplete UTF-8 octet sequence",
            (true, Some(_)) => "invalid trailing UTF-8 octet",
            (false, _) => "invalid leading UTF-8 octet",
        };
        (format!("yaml: {what}"), at)
    })?;
    match text.find(|c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')) {
        Some(at) => Err(("yaml: control characters are not allowed".to_owned(), at)),
        None => Ok(text),
    }
}

/// What keeps a document from being an object at all, as `kubectl` says it.
fn shape_faults(root: &Node) -> Vec<(String, Span)> {
    if !matches!(root.value, Value::Mapping(_)) {
        return vec![("invalid object to validate".to_owned(), root.locate(""))];
    }
    let mut faults = Vec::new();
    for field in ["apiVersion", "kind"] {
        match root.get(field).map(|node| (&node.value, node.span)) {
            None | Some((Value::Null, _)) => faults.push((format!("{field} not set"), root.locate(""))),
            Some((Value::String(text), span)) if field == "apiVersion" && text.matches('/').count() > 1 => {
                faults.push((format!("unexpected GroupVersion string: {text}"), span));
            }
            Some((Value::String(_), _)) => {}
            Some((_, span)) => faults.push((format!("{field} isn't string type"), span)),
        }
    }
    faults
}
