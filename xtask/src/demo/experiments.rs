//! The seven experiments. Each says what it does with the commands that it runs.

use anyhow::Result;

use super::leak;
use super::world::World;

/// An experiment: what it is about, what must come out, and how it is done.
pub(crate) struct Experiment {
    pub(crate) name: &'static str,
    pub(crate) promise: &'static str,
    pub(crate) run: fn(&mut World) -> Result<()>,
}

/// In the article's order, and one that it could not have.
pub(crate) const ALL: &[Experiment] = &[
    Experiment {
        name: "None",
        promise: "a volume sees no mount that the host makes in it later, and the host none of the container's",
        run: none,
    },
    Experiment {
        name: "HostToContainer",
        promise: "the container sees what the host mounts in the volume later, and not the other way round",
        run: host_to_container,
    },
    Experiment {
        name: "Bidirectional",
        promise: "what one container mounts in the volume is seen on the host and in all containers of the volume",
        run: bidirectional,
    },
    Experiment {
        name: "all four ways beside each other",
        promise: "HostToContainer sees what Bidirectional mounts; left out is the same as None",
        run: four_ways,
    },
    Experiment {
        name: "who may use Bidirectional",
        promise: "only privileged containers; what is wrong is refused before anything is made",
        run: refusals,
    },
    Experiment {
        name: "the four kinds of Linux mounts, and the article's program",
        promise: "shared, slave and private are what the modes are made of; unbindable is refused as a source",
        run: kinds,
    },
    Experiment {
        name: "the leak",
        promise: "nothing about it: with every runtime so far a volume below a Bidirectional one doubles on the host",
        run: leak::run,
    },
];

fn none(world: &mut World) -> Result<()> {
    world.run_pods("examples/none.yaml")?;
    world.host("mkdir /mnt/none && mount --bind /var /mnt/none && ls /mnt/none")?;
    let seen = world.inside("mount-a", "ls /home/none")?;
    world.check("a mount of the host is not seen inside", seen.ok() && seen.words().is_empty(), &seen.text());
    let tried = world.inside("mount-a", "mount -t tmpfs inside /home/none")?;
    world.check("this container may not mount at all", !tried.ok(), &tried.text());

    world.say("The same Pod with a privileged container, which may mount:");
    let manifest = world.privileged("examples/none.yaml", "mount-b")?;
    world.run_pods(&manifest)?;
    world.inside(
        "mount-b",
        "mkdir /home/inside && mount -t tmpfs inside /home/inside && touch /home/inside/file",
    )?;
    let own = world.inside("mount-b", "ls /home/inside")?;
    let seen = world.host("ls /mnt/inside")?;
    let apart = own.words() == ["file"] && seen.ok() && seen.words().is_empty();
    world.check("a mount made inside is not seen on the host", apart, &seen.text());
    Ok(())
}

fn host_to_container(world: &mut World) -> Result<()> {
    world.run_pods("examples/host-to-container.yaml")?;
    world.host("mkdir /mnt/none && mount --bind /var /mnt/none")?;
    let host = world.host("ls /mnt/none")?;
    let seen = world.inside("mount-a", "ls /home/none")?;
    let same = !seen.words().is_empty() && seen.words() == host.words();
    world.check("a mount of the host is seen inside", same, &seen.text());
    world.host("umount /mnt/none")?;
    let seen = world.inside("mount-a", "ls /home/none")?;
    world.check("and its unmounting too", seen.ok() && seen.words().is_empty(), &seen.text());

    world.say("The same Pod with a privileged container, which may mount:");
    let manifest = world.privileged("examples/host-to-container.yaml", "mount-b")?;
    world.run_pods(&manifest)?;
    world.inside("mount-b", "mount -t tmpfs inside /home/none && touch /home/none/file")?;
    let own = world.inside("mount-b", "ls /home/none")?;
    let seen = world.host("ls /mnt/none")?;
    let apart = own.words() == ["file"] && seen.ok() && seen.words().is_empty();
    world.check("a mount made inside stays inside", apart, &seen.text());
    Ok(())
}

fn bidirectional(world: &mut World) -> Result<()> {
    world.run_pods("examples/bidirectional.yaml")?;
    let inside =
        world.inside("mount-a", "mkdir /home/none && mount --bind /var /home/none && ls /home/none")?;
    let host = world.host("ls /mnt/none")?;
    let expected = inside.words();
    let same = inside.ok() && !expected.is_empty() && host.words() == expected;
    world.check("what mount-a mounts is seen on the host", same, &host.text());
    let other = world.inside("mount-b", "ls /home/none")?;
    world.check("and in mount-b", !expected.is_empty() && other.words() == expected, &other.text());
    world.inside("mount-a", "umount /home/none")?;
    let host = world.host("ls /mnt/none")?;
    world.check("what it unmounts is gone from the host", host.ok() && host.words().is_empty(), &host.text());
    let other = world.inside("mount-b", "ls /home/none")?;
    world.check("and from mount-b", other.ok() && other.words().is_empty(), &other.text());
    world.host("mount --bind /var /mnt/none")?;
    let other = world.inside("mount-b", "ls /home/none")?;
    world.check("what the host mounts is seen in both", !other.words().is_empty(), &other.text());
    world.inside("mount-b", "umount /home/none")?;
    let host = world.host("ls /mnt/none")?;
    let gone = host.ok() && host.words().is_empty();
    world.check("and a container can unmount it from the host", gone, &host.text());
    Ok(())
}

/// Who sees whose mounts, as in Kubernetes' end-to-end test: viewers in rows, makers in columns.
const VISIBLE: [(&str, [bool; 5]); 5] = [
    ("master", [true, false, false, false, true]),
    ("slave", [true, true, false, false, true]),
    ("private", [false, false, true, false, false]),
    ("default", [false, false, false, true, false]),
    ("host", [true, false, false, false, true]),
];

fn four_ways(world: &mut World) -> Result<()> {
    world.host("mkdir /mnt/test")?;
    world.run_pods("examples/four-ways.yaml")?;
    let makers = VISIBLE.map(|(name, _)| name);
    for maker in makers {
        let make = format!(
            "mkdir /mnt/test/{maker} && mount -t tmpfs {maker} /mnt/test/{maker} && touch /mnt/test/{maker}/file"
        );
        if maker == "host" {
            world.host(&make)?
        } else {
            world.inside(maker, &make)?
        };
    }
    let mut rows = vec![format!("{:10}{}", "", makers.map(|maker| format!("{maker:9}")).concat())];
    let mut wrong = Vec::new();
    for (viewer, expected) in VISIBLE {
        let look = "cd /mnt/test && ls -d */file 2>/dev/null | cut -d/ -f1";
        let ran = if viewer == "host" { world.host(look)? } else { world.inside(viewer, look)? };
        let seen = makers.map(|maker| ran.words().contains(&maker));
        rows.push(format!(
            "{viewer:10}{}",
            seen.map(|yes| if yes { "yes      " } else { "-        " }).concat()
        ));
        if seen != expected {
            wrong.push(viewer);
        }
    }
    world.say("Who (down) sees what whom (across) has mounted:\n");
    rows.iter().for_each(|row| world.say_plain(row));
    let seen = if wrong.is_empty() {
        "all 25 as promised".into()
    } else {
        format!("wrong for {}", wrong.join(", "))
    };
    world.check("each sees what Kubernetes' own test expects", wrong.is_empty(), &seen);
    Ok(())
}

fn refusals(world: &mut World) -> Result<()> {
    let words = "spec.containers[0].volumeMounts.mountPropagation: Forbidden: \
                 Bidirectional mount propagation is available only to privileged containers";
    let ran = world.rhizome(&["run", "-d", "examples/bidirectional-unprivileged.yaml"])?;
    let refused = ran.status() == Some(1) && ran.text().contains(words);
    world.check("Bidirectional without privileged is refused in the API server's words", refused, words);
    let words = r#"strict decoding error: unknown field "metadata.label""#;
    let ran = world.rhizome(&["run", "-d", "examples/misspelt.yaml"])?;
    let refused = ran.status() == Some(1) && ran.text().contains(words);
    world.check("the article's `label:` is refused as kubectl refuses it", refused, words);
    let ran = world.rhizome(&["ps", "--all", "--no-headers"])?;
    world.check("and nothing was made", ran.words().is_empty(), &ran.text());
    let ran = world.rhizome(&["run", "-d", "--validate=warn", "examples/misspelt.yaml"])?;
    let warned = ran.ok() && ran.text().contains(r#"unknown field "metadata.label""#);
    world.check("with --validate=warn it runs, with a warning", warned, words);
    world.rhizome(&["rm", "--force", "mount-a"])?;
    let ran = world.rhizome(&["run", "-d", "--validate=ignore", "examples/misspelt.yaml"])?;
    world.check(
        "with --validate=ignore it runs without",
        ran.ok() && ran.text() == "pod/mount-a",
        &ran.text(),
    );
    Ok(())
}

fn kinds(world: &mut World) -> Result<()> {
    world.host("mkdir /mnt/a /mnt/b /mnt/c && mount -t tmpfs a /mnt/a && mkdir /mnt/a/x /mnt/a/y && mount --bind /mnt/a /mnt/b")?;
    let look = "ls /mnt/a/y; ls /mnt/b/x";
    for (kind, expected) in [("shared", &["from-b", "from-a"][..]), ("slave", &["from-a"]), ("private", &[])]
    {
        let make = format!(
            "mount --make-{kind} /mnt/b && mount -t tmpfs x /mnt/a/x && touch /mnt/a/x/from-a && \
             mount -t tmpfs y /mnt/b/y && touch /mnt/b/y/from-b"
        );
        world.host(&make)?;
        let seen = world.host(look)?;
        let promise = match kind {
            "shared" => "shared: a mount below one peer appears below the other, both ways",
            "slave" => "slave: mounts come from the master only",
            _ => "private: no mount goes either way",
        };
        world.check(promise, seen.words() == expected, &seen.text());
        world.host("umount /mnt/b/y /mnt/a/x 2>/dev/null; umount /mnt/b; mount --bind /mnt/a /mnt/b")?;
    }
    world.host("mount --make-unbindable /mnt/b")?;
    let tried = world.host("mount --bind /mnt/b /mnt/c")?;
    world.check("unbindable: it cannot be bound elsewhere", !tried.ok(), &tried.text());

    world.say("The article's C program: a child in a new mount namespace, with its mounts made private.");
    let program =
        "mount -t tmpfs inside /mnt/c && touch /mnt/c/inside && echo ready && read go && ls /mnt/a/y";
    for (propagation, sees_host) in [("private", false), ("slave", true)] {
        let args = ["unshare", "--propagation", propagation, "--", "sh", "-c", program];
        let late = "mount -t tmpfs late /mnt/a/y && touch /mnt/a/y/late; ls /mnt/c";
        let ran = world.interleaved(&args, late)?;
        let promise = match propagation {
            "private" => "rhizome unshare: with private mounts the host's later mount is not seen",
            _ => "rhizome unshare: with slave mounts it is",
        };
        let says = |words: &str| ran.text().lines().any(|line| line.ends_with(words));
        let as_the_article =
            says("start a container!") && says("inside the container!") && says("container stopped!");
        let seen = if ran.words().contains(&"late") { "late" } else { "" };
        world.check(promise, ran.ok() && as_the_article && seen.is_empty() != sees_host, seen);
        let seen = world.host("ls /mnt/c; umount /mnt/a/y")?;
        world.check(
            "and its own mount is not seen on the host",
            seen.ok() && seen.words().is_empty(),
            &seen.text(),
        );
    }
    Ok(())
}
