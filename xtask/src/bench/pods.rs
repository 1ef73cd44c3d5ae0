//! The larger of the Pods that are measured.

/// Three containers, six volumes.
pub(crate) const LARGE: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: bench}
data: {a: \"1\", b: \"2\"}
---
apiVersion: v1
kind: Secret
metadata: {name: bench}
stringData: {a: \"1\"}
---
apiVersion: v1
kind: Pod
metadata: {name: bench-large}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  volumes:
  - {name: disk, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory}}
  - {name: host, hostPath: {path: /usr/share}}
  - {name: map, configMap: {name: bench}}
  - {name: secret, secret: {secretName: bench}}
  - {name: own, downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}
  containers:
  - name: first
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sleep, \"100000\"]
    volumeMounts: [{name: disk, mountPath: /disk}, {name: memory, mountPath: /memory}, {name: host, mountPath: /host}, {name: map, mountPath: /map}]
  - name: second
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sleep, \"100000\"]
    volumeMounts: [{name: disk, mountPath: /disk}, {name: memory, mountPath: /memory}, {name: secret, mountPath: /secret}, {name: own, mountPath: /own}]
  - name: third
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sleep, \"100000\"]
    volumeMounts: [{name: host, mountPath: /host}, {name: map, mountPath: /map}, {name: secret, mountPath: /secret}, {name: own, mountPath: /own}]
";

/// Serves HTTP; probes are appended.
pub(crate) const IDLE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: bench-NUMBER}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [httpd, -f, -p, \"8080\", -h, /etc]
";
/// Probes of the network, appended to [`IDLE`].
pub(crate) const PROBES_OF_NETWORK: &str = "    readinessProbe: {httpGet: {path: /hosts, port: 8080}}
    livenessProbe: {tcpSocket: {port: 8080}}
";
/// A probe by a command.
pub(crate) const PROBE_OF_COMMAND: &str = "    livenessProbe: {exec: {command: [\"true\"]}}
";
