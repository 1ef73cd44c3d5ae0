//! What a container's configuration and its image together make of its program: the words of the command, the environment,
//! who it is, and what it may do. Nothing of it is done here; what cannot be is found here, before anything is made.

use crate::cgroup::{Devices, Limits};
use crate::child::Program;
use crate::error::{Error, Result};
use crate::seccomp::numbers::Machine;
use crate::state::Dirs;
use crate::user::UserRequest;
use crate::{seccomp, signal, user_namespace};
use manifest::cri::{ContainerConfig, LinuxContainerResources, SeccompProfile, SupplementalGroupsPolicy};
use rustix::thread::CapabilitySet;
use std::sync::Arc;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) fn config_error(field: &'static str, reason: String) -> Error {
    Error::Config { field, reason }
}

/// The kubelet's arithmetic of entrypoint and command.
pub(crate) fn argv(config: &ContainerConfig, image: &image::Image) -> Result<Vec<String>> {
    let (first, rest) = match (config.command.is_empty(), config.args.is_empty()) {
        (false, _) => (&config.command, &config.args),
        (true, false) => (&image.config.entrypoint, &config.args),
        (true, true) => (&image.config.entrypoint, &image.config.cmd),
    };
    let argv: Vec<String> = first.iter().chain(rest).cloned().collect();
    if argv.is_empty() {
        return Err(config_error(
            "command",
            "no command specified, neither by the container nor by its image".to_owned(),
        ));
    }
    Ok(argv)
}

/// The usual PATH, the image's variables, the pod's host name, a terminal's TERM, the container's own: the
/// later wins.
pub(crate) fn environment(config: &ContainerConfig, image: &image::Image, hostname: &str) -> Vec<String> {
    let mut env: Vec<String> = vec![DEFAULT_PATH.to_owned()];
    let mut set = |line: String| {
        let name_length = line.find('=').unwrap_or(line.len());
        let same = |other: &&mut String| other.split('=').next() == Some(&line[..name_length]);
        match env.iter_mut().find(same) {
            Some(other) => *other = line,
            None => env.push(line),
        }
    };
    if config.tty {
        set("TERM=xterm".to_owned());
    }
    image.config.env.iter().filter(|line| line.contains('=')).for_each(|line| set(line.clone()));
    if !hostname.is_empty() {
        set(format!("HOSTNAME={hostname}"));
    }
    config.envs.iter().for_each(|(name, value)| set(format!("{name}={value}")));
    env
}

pub(crate) fn working_directory(config: &ContainerConfig, image: &image::Image) -> String {
    let wanted = if config.working_dir.is_empty() { &image.config.working_dir } else { &config.working_dir };
    if wanted.starts_with('/') { wanted.clone() } else { format!("/{wanted}") }
}

pub(crate) fn user_request(
    config: &ContainerConfig,
    image: &image::Image,
    user_base: Option<u32>,
) -> Result<UserRequest> {
    let security = &config.security_context;
    let id = |field, value: i64| {
        let id = u32::try_from(value)
            .map_err(|_| config_error(field, format!("{value} is not a user or group id")))?;
        if user_base.is_some() && id >= user_namespace::SIZE {
            let last = user_namespace::SIZE - 1;
            let reason = format!("{id} is not in the pod's user namespace, which has the ids 0 to {last}");
            return Err(config_error(field, reason));
        }
        Ok(id)
    };
    Ok(UserRequest {
        image_user: image.config.user.clone(),
        uid: security.run_as_user.map(|uid| id("runAsUser", uid)).transpose()?,
        gid: security.run_as_group.map(|gid| id("runAsGroup", gid)).transpose()?,
        supplementary: security
            .supplemental_groups
            .iter()
            .map(|gid| id("supplementalGroups", *gid))
            .collect::<Result<_>>()?,
        strict_groups: security.supplemental_groups_policy == SupplementalGroupsPolicy::Strict,
    })
}

/// What cannot be handed to execve(2) is found here, not in the child.
pub(crate) fn refuse_nul(program: &Program) -> Result<()> {
    let lists = [("command", &program.argv), ("env", &program.env)];
    for (field, list) in lists {
        if let Some(bad) = list.iter().find(|text| text.contains('\0')) {
            return Err(config_error(field, format!("{bad:?} contains a NUL")));
        }
    }
    if program.cwd.contains('\0') {
        return Err(config_error("workingDir", format!("{:?} contains a NUL", program.cwd)));
    }
    Ok(())
}

pub(crate) fn seccomp_of(config: &ContainerConfig) -> SeccompProfile {
    if config.security_context.privileged {
        return SeccompProfile::Unconfined;
    }
    config.security_context.seccomp.clone()
}

/// The filter of a profile, for a container with these capabilities.
pub(crate) fn seccomp_program(
    dirs: &Dirs,
    profile: &SeccompProfile,
    capabilities: CapabilitySet,
) -> Result<Option<Arc<[sys::seccomp::Instruction]>>> {
    let file = match profile {
        SeccompProfile::Unconfined => return Ok(None),
        SeccompProfile::RuntimeDefault => {
            let native = seccomp::profile::table(capabilities);
            if cfg!(not(target_arch = "x86_64")) {
                return Ok(Some(seccomp::compile(&native, Machine::NATIVE.audit()).into()));
            }
            let small = seccomp::profile::table_32_bit(&native, capabilities);
            let tables = [(Machine::NATIVE.audit(), &native), (Machine::I386.audit(), &small)];
            return Ok(Some(seccomp::compile_for(&tables).into()));
        }
        SeccompProfile::Localhost(file) => dirs.seccomp_profiles().join(file),
    };
    let refuse =
        |why: String| config_error("seccompProfile", format!("cannot load seccomp profile {file:?}: {why}"));
    let mut bytes = Vec::new();
    std::fs::File::open(&file)
        .and_then(|open| {
            std::io::Read::read_to_end(
                &mut std::io::Read::take(open, seccomp::localhost::MAX_BYTES),
                &mut bytes,
            )
        })
        .map_err(|error| refuse(error.to_string()))?;
    let filter = seccomp::localhost::compile(&bytes).map_err(|error| refuse(error.to_string()))?;
    Ok(Some(filter.into()))
}

/// The pod's word, else the image's, else SIGTERM.
pub(crate) fn stop_signal(config: &ContainerConfig, image: &image::Image) -> Result<i32> {
    let of_image = image.config.stop_signal.as_deref().filter(|name| !name.is_empty());
    let (field, name) = match (config.stop_signal.as_deref(), of_image) {
        (Some(name), _) => ("stopSignal", name),
        (None, Some(name)) => ("image stop signal", name),
        (None, None) => return Ok(signal::TERM),
    };
    signal::parse(name).ok_or_else(|| config_error(field, format!("unknown signal {name:?}")))
}

pub(crate) fn limits(resources: &LinuxContainerResources, devices: Devices) -> Limits {
    let positive = |value: i64| u64::try_from(value).unwrap_or(0);
    Limits {
        memory_bytes: positive(resources.memory_limit_in_bytes),
        cpu_shares: positive(resources.cpu_shares),
        cpu_quota_us: positive(resources.cpu_quota),
        cpu_period_us: positive(resources.cpu_period),
        pids: None,
        devices,
    }
}
