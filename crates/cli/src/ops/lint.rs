//! `rhizome lint`: manifests from files, judged by `explain`, mended on demand.

use crate::args::{self, LintFormat};
use crate::exit::{Context as _, Exit, Failure, Result};
use crate::manifests::read;
use crate::output;
use explain::kernel_rule;
use explain::lint::{self, Finding, RULES, Severity};
use manifest::Source;
use manifest::nearest::nearest;
use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Files of one call. A folder with more is not one of manifests.
const MAX_FILES: usize = 20_000;
/// Folders in folders.
const MAX_DEPTH: usize = 64;

/// Prints what the rules find.
pub(crate) fn run(args: &args::Lint) -> Result {
    if let Some(rule) = &args.explain {
        return explain(rule.as_deref());
    }
    let mut files = Vec::new();
    for path in &args.files {
        collect(path, &mut files)?;
    }
    let mut seen = HashSet::new();
    files.retain(|path| seen.insert(path.clone()));
    if files.is_empty() {
        return Err(Failure::wrong_use("no file ends in .yaml, .yml or .json"));
    }
    if args.fix && files.iter().any(|path| path == Path::new("-")) {
        return Err(Failure::wrong_use("--fix needs files: what standard input came from cannot be written")
            .hint("--diff prints the changes"));
    }
    let mut texts = read(&files)?;
    let mut findings = lint_all(&texts);
    if args.fix && fix(&files, &mut texts, &findings)? {
        findings = lint_all(&texts);
    }
    if args.diff {
        output::stdout(&diff(&texts, &findings))?;
    } else {
        print(args.format, &findings)?;
    }
    let counts = findings.iter().any(|finding| finding.severity != Severity::Note);
    Ok(if counts { Exit::NO } else { Exit::YES })
}

fn print(format: LintFormat, findings: &[Finding]) -> Result<()> {
    match format {
        LintFormat::Plain => output::stdout(&view::lint::plain(findings, output::stdout_paint())),
        LintFormat::Json => output::document(&view::lint::report(findings), args::Object::Json),
        LintFormat::Sarif => {
            output::document(&view::lint::sarif(findings, env!("CARGO_PKG_VERSION")), args::Object::Json)
        }
        LintFormat::Github => output::stdout(&view::lint::github(findings)),
    }
}

/// A rule's page, or all rules.
fn explain(rule: Option<&str>) -> Result {
    let Some(name) = rule else {
        output::stdout(&view::lint::rules(output::stdout_paint()))?;
        return Ok(Exit::YES);
    };
    let Some(rule) = RULES.iter().find(|rule| rule.id == name) else {
        if let Some(rule) = kernel_rule::of_name(name) {
            output::stdout(&kernel_rule::text(rule))?;
            return Ok(Exit::YES);
        }
        let failure = Failure::wrong_use(format!("there is no rule {name:?}"));
        return Err(match nearest(name, RULES.iter().map(|rule| rule.id)) {
            Some(meant) => failure.hint(format!("did you mean {meant}?")),
            None => failure.hint("`rhizome lint --explain` lists them"),
        });
    };
    output::stdout(&lint::text(rule))?;
    Ok(Exit::YES)
}

fn lint_all(texts: &[(String, Vec<u8>)]) -> Vec<Finding> {
    let sources: Vec<Source<'_>> = texts.iter().map(|(name, bytes)| Source { name, bytes }).collect();
    lint::lint(&sources)
}

/// A file as it is; of a folder, all files that kubectl would take, hidden ones left out, links not followed.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path == Path::new("-") || !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut folders = vec![(path.to_owned(), 0)];
    let mut found = Vec::new();
    while let Some((folder, depth)) = folders.pop() {
        let reading = || format!("reading the folder {}", folder.display());
        for entry in std::fs::read_dir(&folder).context(reading())? {
            let entry = entry.context(reading())?;
            let (path, kind) = (entry.path(), entry.file_type().context(reading())?);
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if kind.is_dir() && depth < MAX_DEPTH {
                folders.push((path, depth + 1));
            } else if kind.is_file() && is_manifest(&path) {
                found.push(path);
            }
        }
        if files.len() + found.len() > MAX_FILES {
            let text = format!("{} holds more than {MAX_FILES} manifests", path.display());
            return Err(Failure::wrong_use(text));
        }
    }
    found.sort();
    files.append(&mut found);
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

/// Each text with the findings that are of it, as it is and as it would be mended.
fn mended<'a>(
    texts: &'a [(String, Vec<u8>)],
    findings: &[Finding],
) -> impl Iterator<Item = (usize, &'a str, &'a str, String)> {
    let mut fixable: HashMap<String, Vec<Finding>> = HashMap::new();
    for finding in findings.iter().filter(|finding| finding.fix.is_some()) {
        fixable.entry(finding.problem.source_name.clone()).or_default().push(finding.clone());
    }
    // Findings know their file by its name as it is shown. Two whose names differ only in bytes that are no UTF-8 are
    // not to be told apart, and not mended.
    let mut named: HashMap<&str, usize> = HashMap::new();
    texts.iter().for_each(|(name, _)| *named.entry(name).or_default() += 1);
    texts.iter().enumerate().filter_map(move |(at, (name, bytes))| {
        let own = fixable.remove(name).filter(|_| named.get(name.as_str()) == Some(&1))?;
        let text = std::str::from_utf8(bytes).ok()?;
        Some((at, name.as_str(), text, lint::apply(text, &own)))
    })
}

fn diff(texts: &[(String, Vec<u8>)], findings: &[Finding]) -> String {
    mended(texts, findings).map(|(_, name, old, new)| lint::diff(name, old, &new)).collect()
}

/// Writes what can be mended; says whether anything was.
fn fix(files: &[PathBuf], texts: &mut [(String, Vec<u8>)], findings: &[Finding]) -> Result<bool> {
    let changes: Vec<_> =
        mended(texts, findings).map(|(at, name, _, new)| (at, name.to_owned(), new)).collect();
    for (at, name, new) in &changes {
        replace(&files[*at], new.as_bytes()).context(format!("writing {name}"))?;
        output::note(&format!("mended {name}"));
    }
    let any = !changes.is_empty();
    for (at, _, new) in changes {
        texts[at].1 = new.into_bytes();
    }
    Ok(any)
}

/// Puts a file in another's place at once, with its owner and mode. Where a link points is what is replaced.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let path = std::fs::canonicalize(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let was = std::fs::metadata(&path)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    let is = file.as_file().metadata()?;
    if (was.uid(), was.gid()) != (is.uid(), is.gid()) {
        std::os::unix::fs::fchown(file.as_file(), Some(was.uid()), Some(was.gid()))?;
    }
    file.as_file().set_permissions(was.permissions())?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}
