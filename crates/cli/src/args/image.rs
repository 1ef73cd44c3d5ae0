//! Arguments of `rhizome image`.

use super::{Listing, Object};
use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

/// `rhizome image`
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
pub(crate) struct Image {
    #[command(subcommand)]
    pub(crate) command: ImageCommand,
}

/// What to do with images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Get images from registries
    Pull(Pull),
    /// Take an image from a file or folder
    #[command(after_help = "\
Examples:
  rhizome image import busybox.tar --name busybox    An OCI archive, or a root file system
  rhizome image import ./layout --name nginx:1.27    An OCI layout folder")]
    Import {
        /// An OCI layout (folder or tar), or the tar of a root file system
        #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
        path: PathBuf,
        /// What manifests will call it; completed as docker does (nginx is docker.io/library/nginx:latest)
        #[arg(long, value_name = "REF")]
        name: String,
    },
    /// List images
    #[command(
        visible_alias = "list",
        after_help = "\
Examples:
  rhizome image ls
  rhizome image ls -o name | xargs rhizome image inspect"
    )]
    Ls {
        /// Output format
        #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Listing::Table)]
        output: Listing,
        /// No header line
        #[arg(long)]
        no_headers: bool,
    },
    /// Show all that is known about an image
    Inspect(ImageInspect),
    /// Remove images
    #[command(after_help = "\
What a container was made from stays until that is removed.

Examples:
  rhizome image rm busybox nginx:1.27")]
    Rm {
        /// Images
        #[arg(required = true, value_name = "REF")]
        references: Vec<String>,
    },
    /// Remove layers that no image has, and what broken pulls left
    #[command(after_help = "\
What a container was made from stays, with and without --all.

Examples:
  rhizome image prune        Only what cannot be used any more
  rhizome image prune --all  Also images that no container was made from")]
    Prune {
        /// Also images that no container was made from
        #[arg(short, long)]
        all: bool,
    },
}

/// `rhizome image pull`
#[derive(Debug, Args)]
#[command(after_help = "\
Layers that are here are not fetched again, and what a broken pull left is used. Mirrors and certificates \
are set in registries.json in DIR/lib, else in /etc/rhizome.

Examples:
  rhizome image pull busybox                 docker.io/library/busybox:latest
  rhizome image pull localhost:5000/tool:1   On loopback in plain HTTP
  rhizome image pull nginx@sha256:<digest>   Exactly this one")]
pub(crate) struct Pull {
    /// Images
    #[arg(required = true, value_name = "REF")]
    pub(crate) references: Vec<String>,
    /// Credentials, as docker login writes them [default: $DOCKER_CONFIG/config.json or
    /// ~/.docker/config.json]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) authfile: Option<PathBuf>,
    /// Draw nothing
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `rhizome image inspect`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rhizome image inspect busybox
  rhizome image inspect busybox | jq -r '.layers[].path'")]
pub(crate) struct ImageInspect {
    /// Images, by name or id
    #[arg(required = true, value_name = "REF")]
    pub(crate) references: Vec<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Object::Json)]
    pub(crate) output: Object,
}
