//! A volume mounted below a Bidirectional one, over restarts: what our pods leave on the host, and what runc leaves.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::world::World;
use crate::host;

const RESTARTS: usize = 6;

pub(crate) fn run(world: &mut World) -> Result<()> {
    world.host("mkdir /mnt/outer /mnt/inner && touch /mnt/inner/file")?;
    world.run_pods("examples/nested.yaml")?;
    let mut ours = Vec::new();
    for restart in 0..RESTARTS {
        if restart > 0 {
            for verb in ["stop", "start"] {
                let ran = world.rhizome(&[verb, "nested"])?;
                if !ran.ok() {
                    bail!("the pod does not {verb}: {}", ran.text());
                }
            }
        }
        let inside = world.inside("nested", "ls /vol/inner")?;
        if inside.words() != ["file"] {
            bail!("the inner volume is not in the container: {}", inside.text());
        }
        ours.push(mounts_below("/mnt/outer")?);
    }
    world.inside("nested", "mkdir /vol/own && mount -t tmpfs own /vol/own")?;
    let seen = mounts_below("/mnt/outer")?;
    world.check("the container's own mount still reaches the host", seen == 1, &format!("{seen} mount"));
    let shown = |counts: &[usize]| counts.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    world.say("Mounts on the host below the Bidirectional volume, start by start:");
    world.say_plain(&format!("rhizome  {}", shown(&ours)));
    if host::find("runc").is_some() {
        match with_runc(world) {
            Ok(theirs) => world.say_plain(&format!("runc     {}", shown(&theirs))),
            Err(error) => world.say_plain(&format!("runc     cannot be compared here: {error:#}")),
        }
    } else {
        world.say_plain("runc     is not installed");
    }
    let promise = "six starts leave no mount of ours on the host";
    world.check(promise, ours.iter().all(|count| *count == 0), &shown(&ours));
    Ok(())
}

fn mounts_below(directory: &str) -> Result<usize> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mount table")?;
    let beneath = format!("{directory}/");
    let places = table.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(places.filter(|place| place.starts_with(&beneath)).count())
}

/// The same with runc, driven as containerd drives it, in a mount namespace that is thrown away.
fn with_runc(world: &World) -> Result<Vec<usize>> {
    let bundle = world.root().join("runc");
    fs::create_dir_all(&bundle).with_context(|| format!("cannot make {}", bundle.display()))?;
    let busybox = host::find("busybox").context("there is no busybox for its root file system")?;
    let script = script(&bundle, &busybox);
    let counts = host::output(
        Command::new("unshare").args(["--mount", "--propagation", "private", "sh", "-c"]).arg(script),
    )?;
    let counts: Vec<usize> =
        String::from_utf8_lossy(&counts).lines().filter_map(|line| line.trim().parse().ok()).collect();
    if counts.len() != RESTARTS {
        bail!("it ran {} times instead of {RESTARTS}", counts.len());
    }
    Ok(counts)
}

/// Runs the bundle six times on a shared file system of its own, and counts after each.
fn script(bundle: &Path, busybox: &Path) -> String {
    let config = config(bundle);
    let (bundle, busybox) = (bundle.display(), busybox.display());
    format!(
        "set -e; mount -t tmpfs runc {bundle}/ -o mode=755; \
         mkdir {bundle}/host {bundle}/rootfs {bundle}/state; \
         mkdir {bundle}/rootfs/bin {bundle}/rootfs/proc {bundle}/rootfs/vol; cp {busybox} {bundle}/rootfs/bin/true; \
         printf '%s' '{config}' > {bundle}/config.json; \
         mount -t tmpfs host {bundle}/host; mount --make-shared {bundle}/host; \
         mkdir -p {bundle}/host/outer/inner {bundle}/host/inner; \
         for n in 1 2 3 4 5 6; do \
             runc --root {bundle}/state run --bundle {bundle} rz-demo-$$ </dev/null >&2; \
             grep -c \" {bundle}/host/outer/\" /proc/self/mountinfo || true; \
         done"
    )
}

/// What containerd writes for such a pod, without what does not matter here.
fn config(bundle: &Path) -> String {
    let bundle = bundle.display();
    format!(
        r#"{{"ociVersion":"1.0.2","process":{{"user":{{"uid":0,"gid":0}},"args":["/bin/true"],"env":["PATH=/bin"],"cwd":"/"}},
"root":{{"path":"{bundle}/rootfs"}},
"mounts":[
{{"destination":"/proc","type":"proc","source":"proc"}},
{{"destination":"/vol","type":"bind","source":"{bundle}/host/outer","options":["rbind","rshared"]}},
{{"destination":"/vol/inner","type":"bind","source":"{bundle}/host/inner","options":["rbind","rprivate"]}}],
"linux":{{"rootfsPropagation":"rshared","namespaces":[{{"type":"mount"}},{{"type":"pid"}},{{"type":"ipc"}},{{"type":"uts"}}]}}}}"#
    )
}
