//! What of PersistentVolumes and claims this version uses: a row for every field of their specs, as data.

use super::{Checked, Done, NoMeaning, Refused, Row, Values, Verdict, Walk, line, row};
use crate::field::Path;
use crate::tree::Node;
use std::collections::HashSet;

const NO_DRIVER: &str = "only hostPath and local";

const VOLUME: &[Row] = &[
    row("spec.capacity", Done, "for the choice of a volume; nothing limits what is written"),
    row("spec.hostPath", Done, "every type, with the kubelet's checks"),
    row("spec.local.path", Done, "a directory that is there"),
    row("spec.local", Refused, "no device is formatted"),
    row("spec.accessModes", Done, "for the choice of a volume; nothing keeps a second pod out"),
    row("spec.claimRef", Done, ""),
    row("spec.persistentVolumeReclaimPolicy", NoMeaning, "nothing is deleted"),
    row("spec.storageClassName", Done, "for the choice of a volume"),
    row("spec.mountOptions", Refused, ""),
    row("spec.volumeMode", Values(&["Filesystem"]), ""),
    row("spec.nodeAffinity", NoMeaning, ""),
    row("spec.volumeAttributesClassName", NoMeaning, ""),
    row("spec.gcePersistentDisk", Refused, NO_DRIVER),
    row("spec.awsElasticBlockStore", Refused, NO_DRIVER),
    row("spec.glusterfs", Refused, NO_DRIVER),
    row("spec.nfs", Refused, NO_DRIVER),
    row("spec.rbd", Refused, NO_DRIVER),
    row("spec.iscsi", Refused, NO_DRIVER),
    row("spec.cinder", Refused, NO_DRIVER),
    row("spec.cephfs", Refused, NO_DRIVER),
    row("spec.fc", Refused, NO_DRIVER),
    row("spec.flocker", Refused, NO_DRIVER),
    row("spec.flexVolume", Refused, NO_DRIVER),
    row("spec.azureFile", Refused, NO_DRIVER),
    row("spec.vsphereVolume", Refused, NO_DRIVER),
    row("spec.quobyte", Refused, NO_DRIVER),
    row("spec.azureDisk", Refused, NO_DRIVER),
    row("spec.photonPersistentDisk", Refused, NO_DRIVER),
    row("spec.portworxVolume", Refused, NO_DRIVER),
    row("spec.scaleIO", Refused, NO_DRIVER),
    row("spec.storageos", Refused, NO_DRIVER),
    row("spec.csi", Refused, NO_DRIVER),
];

const CLAIM: &[Row] = &[
    row("spec.accessModes", Done, "for the choice of a volume; nothing keeps a second pod out"),
    row("spec.selector", Done, ""),
    row(
        "spec.resources",
        Checked,
        "requests.storage, for the choice of a volume; nothing limits what is written",
    ),
    row("spec.volumeName", Done, ""),
    row(
        "spec.storageClassName",
        Done,
        "for the choice of a volume; with none that fits a folder, with `\"\"` an error",
    ),
    row("spec.volumeMode", Values(&["Filesystem"]), ""),
    row("spec.dataSource", Refused, ""),
    row("spec.dataSourceRef", Refused, ""),
    row("spec.volumeAttributesClassName", NoMeaning, ""),
];

const KINDS: [(&str, &[Row]); 2] = [("PersistentVolume", VOLUME), ("PersistentVolumeClaim", CLAIM)];

pub(crate) fn persistent_volume(node: &Node, left_out: &HashSet<String>) -> Verdict {
    of(VOLUME, node, left_out)
}

pub(crate) fn claim(node: &Node, left_out: &HashSet<String>) -> Verdict {
    of(CLAIM, node, left_out)
}

fn of(rows: &'static [Row], node: &Node, left_out: &HashSet<String>) -> Verdict {
    let mut found = Walk::new(rows, &Path::new(""), left_out);
    found.walk(node, "", &Path::new(""));
    let (mut verdict, fields) = found.end();
    verdict.no_meaning(fields);
    verdict
}

/// The tables as the page docs/reference/claim-fields.md.
#[must_use]
pub fn page() -> String {
    let mut text = String::from(
        "# Fields of PersistentVolume and PersistentVolumeClaim\n\n\
         Written from the tables in `crates/manifest/src/support/claims.rs`, and checked by a test: `RHIZOME_BLESS=1 cargo test -p manifest` writes it anew.\n",
    );
    for (kind, rows) in KINDS {
        text.push_str(&format!("\n## {kind} (v1)\n\n| field | | remark |\n| --- | --- | --- |\n"));
        rows.iter().for_each(|row| text.push_str(&line(row)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{self, Type};

    #[test]
    fn every_field_has_a_row_and_every_row_a_field() {
        for (kind, rows) in KINDS {
            let spec = schema::find(&format!("v1.{kind}")).unwrap().field("spec").unwrap();
            let Type::Struct(spec) = spec.ty else { panic!("{kind}") };
            let mut fields: Vec<String> =
                schema::find(spec).unwrap().fields.iter().map(|f| format!("spec.{}", f.name)).collect();
            let mut rows: Vec<&str> =
                rows.iter().map(|row| row.path).filter(|path| path.matches('.').count() == 1).collect();
            fields.sort();
            rows.sort_unstable();
            assert_eq!(rows, fields, "{kind}");
        }
    }
}
