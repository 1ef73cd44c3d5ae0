//! What each runtime leaves on the node, as a table.

use crate::table::table;
use crate::text::{Paint, printable, wrap};
use explain::plan::{Growth, RUNTIMES, RuntimeReport, Start};
use std::fmt::Write as _;
use subtree_model::RuleId;

/// For the containers whose mounts could get there; then what runtimes make of modes that is not what was asked for.
pub(super) fn write_growth(text: &mut String, runtimes: &[RuntimeReport], columns: usize, paint: Paint) {
    let containers = runtimes.iter().map(|report| report.containers.len()).max().unwrap_or(0);
    let with_all = |at: usize| runtimes.iter().filter_map(move |report| report.containers.get(at));
    let told: Vec<usize> =
        (0..containers).filter(|at| with_all(*at).any(|growth| !growth.starts.is_empty())).collect();
    if !told.is_empty() {
        let starts = runtimes.iter().flat_map(|r| &r.containers).map(|g| g.starts.len()).max().unwrap_or(1);
        let starts = if starts == 1 { "1 start".to_owned() } else { format!("{starts} starts") };
        let title = format!(
            "mounts that the runtime makes for the container and that appear on the node, in {starts}"
        );
        let _ = writeln!(text, "\n{}", paint.strong(&title));
        write_table(text, &told, runtimes, columns);
    }
    for report in runtimes {
        for (what, who) in otherwise(report) {
            let said = format!("{} has {} as {what}", report.runtime.name(), who.join(", "));
            let _ = writeln!(text, "  {}", wrap(&printable(&said), columns, 4));
        }
    }
}

fn write_table(text: &mut String, told: &[usize], runtimes: &[RuntimeReport], columns: usize) {
    let heads: [&str; RUNTIMES.len() + 1] = std::array::from_fn(|at| match at {
        0 => "CONTAINER",
        at => runtimes.get(at - 1).map_or("", |report| report.runtime.name()),
    });
    let (mut rows, mut places, mut nothing, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new(), false);
    for at in told {
        let all: Vec<&Growth> = runtimes.iter().filter_map(|report| report.containers.get(*at)).collect();
        let Some(first) = all.first() else { continue };
        if all.iter().all(|growth| growth.fault.is_none() && !growth.leaks()) {
            nothing.push(first.container.clone());
            continue;
        }
        elsewhere |= all.iter().any(|growth| last(growth).is_some_and(|s| s.mounts > s.in_volumes));
        rows.push(std::array::from_fn(|column| match column {
            0 => first.container.clone(),
            _ => all.get(column - 1).map_or(String::new(), |growth| counts(growth)),
        }));
        if let Some(growth) = all.iter().find(|growth| !growth.places.is_empty()) {
            let named: Vec<String> = growth.places.iter().map(|place| place.display().to_string()).collect();
            places.push(format!("{} on the node at {}", growth.container, named.join(", ")));
        }
    }
    if !rows.is_empty() {
        table(Some(heads), &rows).lines().for_each(|line| {
            let _ = writeln!(text, "  {line}");
        });
    }
    if elsewhere {
        places.push("in all: with those where what is mounted comes from, which is shared too".to_owned());
    }
    if !nothing.is_empty() {
        places.push(format!("none with any runtime: {}", nothing.join(", ")));
    }
    for said in places {
        let _ = writeln!(text, "  {}", wrap(&printable(&said), columns, 4));
    }
}

/// What a runtime makes of modes, and of which.
fn otherwise(report: &RuntimeReport) -> Vec<(&'static str, Vec<String>)> {
    let mut all: Vec<(&'static str, Vec<String>)> = Vec::new();
    for growth in &report.containers {
        for (path, what) in &growth.otherwise {
            let who = format!("{} of {}", path.display(), growth.container);
            match all.iter_mut().find(|(known, _)| known == what) {
                Some((_, whose)) => whose.push(who),
                None => all.push((what, vec![who])),
            }
        }
    }
    all
}

/// The last start that was not refused.
fn last(growth: &Growth) -> Option<&Start> {
    growth.starts.iter().rev().find(|start| start.refused.is_none())
}

fn counts(growth: &Growth) -> String {
    if growth.fault.is_some() {
        return "refused".to_owned();
    }
    if !growth.leaks() {
        return "0".to_owned();
    }
    let one = |start: &Start| match start.refused.and_then(RuleId::errno) {
        Some(errno) => errno.to_string(),
        None => start.in_volumes.to_string(),
    };
    let counts = growth.starts.iter().map(one).collect::<Vec<_>>().join(" ");
    match last(growth) {
        Some(last) if last.mounts > last.in_volumes => format!("{counts} (in all {})", last.mounts),
        _ => counts,
    }
}
