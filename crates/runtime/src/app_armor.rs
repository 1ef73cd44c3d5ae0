//! AppArmor: which profile a container gets, and the change to it at execve(2).
//!
//! The label is written by the host's `/proc`, before the process has entered any namespace of the container: whatever the
//! image or a volume has put at `/proc` is not looked at (CVE-2019-16884, CVE-2023-27561, CVE-2025-52881).
//!
//! Profiles are loaded by whoever runs the machine (`apparmor_parser`); this only changes to them. Sources: apparmor(7),
//! security/apparmor/procattr.c; containerd's `WithProfile` for what an unset profile means.

use crate::error::{Error, Result, Step, StepFailure};
use manifest::cri::AppArmorProfile;
use rustix::io::Errno;
use std::path::Path;

/// Profiles that are taken for RuntimeDefault, the first that is loaded: ours, and those that other runtimes load.
const DEFAULTS: [&str; 3] = ["rhizome-default", "cri-containerd.apparmor.d", "docker-default"];

/// Whether the kernel has AppArmor and it is on.
fn is_on() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.first() == Some(&b'Y'))
}

/// Names of the loaded profiles; none where the list cannot be read (securityfs is not mounted).
fn loaded() -> Option<Vec<String>> {
    let text = std::fs::read_to_string("/sys/kernel/security/apparmor/profiles").ok()?;
    // `name (mode)`
    Some(text.lines().filter_map(|line| Some(line.rsplit_once(" (")?.0.to_owned())).collect())
}

/// The profile to change to; none changes nothing.
pub(crate) fn profile(wanted: &AppArmorProfile) -> Result<Option<String>> {
    choose(wanted, is_on(), loaded().as_deref())
}

fn choose(wanted: &AppArmorProfile, on: bool, loaded: Option<&[String]>) -> Result<Option<String>> {
    let refuse = |reason: String| Err(Error::Config { field: "appArmorProfile", reason });
    let has = |name: &str| loaded.is_none_or(|loaded| loaded.iter().any(|other| other == name));
    let default = || DEFAULTS.into_iter().find(|name| loaded.is_some() && has(name)).map(str::to_owned);
    match wanted {
        AppArmorProfile::Unset if on => Ok(default()),
        AppArmorProfile::Unset => Ok(None),
        // Where we are confined ourselves it must be said.
        AppArmorProfile::Unconfined => Ok(on.then(|| "unconfined".to_owned())),
        // In the kubelet's words.
        _ if !on => refuse("Cannot enforce AppArmor: AppArmor is not enabled on the host".to_owned()),
        AppArmorProfile::RuntimeDefault => match default() {
            Some(name) => Ok(Some(name)),
            None => refuse(format!("no default profile is loaded: none of {}", DEFAULTS.join(", "))),
        },
        AppArmorProfile::Localhost(name) if has(name) => Ok(Some(name.clone())),
        AppArmorProfile::Localhost(name) => refuse(format!("apparmor profile not found {name}")),
    }
}

/// In the child, while `/proc` is still the host's: the profile that the next execve(2) changes to.
pub(crate) fn change_at_exec(profile: &str) -> Result<(), StepFailure> {
    // Linux 5.8 has a place of AppArmor's own, since another module may have the common one.
    let places = ["/proc/thread-self/attr/apparmor/exec", "/proc/thread-self/attr/exec"];
    let place = places.into_iter().find(|place| Path::new(place).exists()).unwrap_or(places[1]);
    std::fs::write(place, format!("exec {profile}")).map_err(|error| {
        StepFailure::at(Step::AppArmor, place, Errno::from_io_error(&error).unwrap_or(Errno::IO))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_choice_means_here_and_there() {
        let loaded = ["docker-default".to_owned(), "mine".to_owned()];
        let choose = |wanted: &AppArmorProfile, on, loaded| {
            super::choose(wanted, on, loaded).map_err(|error| error.to_string())
        };
        let mine = AppArmorProfile::Localhost("mine".to_owned());
        let (all, none) = (Some(&loaded[..]), Some(&loaded[..0]));
        assert_eq!(choose(&AppArmorProfile::Unset, false, None), Ok(None));
        assert_eq!(choose(&AppArmorProfile::Unset, true, none), Ok(None));
        assert_eq!(choose(&AppArmorProfile::Unset, true, all), Ok(Some("docker-default".to_owned())));
        assert_eq!(choose(&AppArmorProfile::Unconfined, false, None), Ok(None));
        assert_eq!(choose(&AppArmorProfile::Unconfined, true, all), Ok(Some("unconfined".to_owned())));
        assert_eq!(choose(&mine, true, all), Ok(Some("mine".to_owned())));
        assert_eq!(choose(&mine, true, None), Ok(Some("mine".to_owned())), "the kernel will say");
        assert_eq!(
            choose(&mine, true, none).unwrap_err(),
            "appArmorProfile: apparmor profile not found mine"
        );
        for wanted in [&mine, &AppArmorProfile::RuntimeDefault] {
            let error = choose(wanted, false, None).unwrap_err();
            assert!(
                error.ends_with("Cannot enforce AppArmor: AppArmor is not enabled on the host"),
                "{error}"
            );
        }
        assert!(choose(&AppArmorProfile::RuntimeDefault, true, none).is_err());
    }
}
