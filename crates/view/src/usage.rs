//! What pods use, as `kubectl top` prints it.

use crate::table::lines;

/// What a container uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Its pod's namespace.
    pub namespace: String,
    /// Its pod.
    pub pod: String,
    /// Its name.
    pub container: String,
    /// Of a processor, in nanoseconds a second; none where this machine does not tell.
    pub cpu_nanocores: Option<u64>,
    /// The working set; none where this machine does not tell.
    pub memory_bytes: Option<u64>,
}

/// Which columns and rows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageColumns {
    /// The namespace.
    pub namespace: bool,
    /// A row a container, else a row a pod.
    pub containers: bool,
    /// A header line.
    pub header: bool,
}

/// The table. Pods come in the order of their first containers.
pub fn table(used: &[ContainerUsage], columns: UsageColumns) -> String {
    let rows: Vec<ContainerUsage> = if columns.containers { used.to_vec() } else { of_pods(used) };
    let mut header = vec!["CPU(cores)", "MEMORY(bytes)"];
    if columns.containers {
        header.splice(0..0, ["POD", "NAME"]);
    } else {
        header.insert(0, "NAME");
    }
    if columns.namespace {
        header.insert(0, "NAMESPACE");
    }
    let cells = |usage: ContainerUsage| {
        let mut row = vec![usage.cpu_nanocores.map_or("<unknown>".to_owned(), cpu)];
        row.push(usage.memory_bytes.map_or("<unknown>".to_owned(), memory));
        if columns.containers {
            row.insert(0, usage.container);
        }
        row.insert(0, usage.pod);
        if columns.namespace {
            row.insert(0, usage.namespace);
        }
        row
    };
    lines(columns.header.then_some(header.as_slice()), rows.into_iter().map(cells).collect())
}

fn of_pods(used: &[ContainerUsage]) -> Vec<ContainerUsage> {
    let mut pods: Vec<ContainerUsage> = Vec::new();
    let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
    for usage in used {
        match pods.iter_mut().find(|pod| (&pod.namespace, &pod.pod) == (&usage.namespace, &usage.pod)) {
            Some(pod) => {
                pod.cpu_nanocores = sum(pod.cpu_nanocores, usage.cpu_nanocores);
                pod.memory_bytes = sum(pod.memory_bytes, usage.memory_bytes);
            }
            None => pods.push(usage.clone()),
        }
    }
    pods
}

/// Thousandths of a processor, rounded up.
fn cpu(nanocores: u64) -> String {
    format!("{}m", nanocores.div_ceil(1_000_000))
}

/// Whole MiB.
fn memory(bytes: u64) -> String {
    format!("{}Mi", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn as_kubectl_tops_them() {
        let usage = |pod: &str, container: &str, cpu: Option<u64>, memory| ContainerUsage {
            namespace: "default".into(),
            pod: pod.into(),
            container: container.into(),
            cpu_nanocores: cpu,
            memory_bytes: memory,
        };
        let used = [
            usage("mount-a", "main", Some(1), Some(3 << 20)),
            usage("mount-a", "side", Some(250_000_000), Some((5 << 20) + 1)),
            usage("b", "main", None, Some(0)),
        ];
        let columns = UsageColumns { namespace: false, containers: false, header: true };
        expect![[r"
            NAME      CPU(cores)   MEMORY(bytes)
            mount-a   251m         8Mi
            b         <unknown>    0Mi
        "]]
        .assert_eq(&table(&used, columns));
        expect![[r"
            NAMESPACE   POD       NAME   CPU(cores)   MEMORY(bytes)
            default     mount-a   main   1m           3Mi
            default     mount-a   side   250m         5Mi
            default     b         main   <unknown>    0Mi
        "]]
        .assert_eq(&table(&used, UsageColumns { namespace: true, containers: true, header: true }));
    }
}
