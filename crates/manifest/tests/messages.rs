//! What is said of wrong Pods, ConfigMaps and Secrets, word for word, and where it points.

use manifest::{Loaded, Options, Problem, Source, ValidationMode, kubectl_text, load};

fn run(text: &str) -> Result<Loaded, Vec<Problem>> {
    load(&[Source { name: "f.yaml", bytes: text.as_bytes() }], &Options::default())
}

/// A Pod whose spec has these lines besides a container.
fn with_spec(lines: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers: [{{name: a, image: b}}]\n  {lines}\n"
    )
}

/// A Pod whose container has these fields besides name and image, and that has the volume `v`.
fn with_container(fields: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  volumes: [{{name: v, hostPath: {{path: /mnt}}}}]\n  containers: [{{name: a, image: b, {fields}}}]\n"
    )
}

fn causes(text: &str) -> Vec<String> {
    run(text)
        .map_or_else(|problems| problems.into_iter().map(|problem| problem.message).collect(), |_| Vec::new())
}

#[test]
fn fields_of_a_container() {
    const C: &str = "spec.containers[0]";
    let cases = [
        (
            "ports: [{containerPort: 80, hostPort: 70000}]",
            "ports[0].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            "ports: [{containerPort: 80, name: \"80\"}]",
            "ports[0].name: Invalid value: \"80\": must contain at least one letter (a-z)",
        ),
        (
            "ports: [{containerPort: 80, name: w}, {containerPort: 81, name: w}]",
            "ports[1].name: Duplicate value: \"w\"",
        ),
        (
            "env: [{name: A, valueFrom: {}}]",
            "env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ),
        (
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.phase}}}]",
            "env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
        ),
        (
            "env: [{name: A, valueFrom: {configMapKeyRef: {name: m}}}]",
            "env[0].valueFrom.configMapKeyRef.key: Required value",
        ),
        (
            "envFrom: [{prefix: X}]",
            "envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
        ),
        (
            "volumeMounts: [{name: v, mountPath: /a, subPath: /x}]",
            "volumeMounts.subPath: Invalid value: \"/x\": must be a relative path",
        ),
        ("volumeMounts: [{name: w, mountPath: /a}]", "volumeMounts[0].name: Not found: \"w\""),
        (
            "volumeDevices: [{name: v, devicePath: /dev/x}], volumeMounts: [{name: v, mountPath: /a}]",
            "volumeMounts[0].name: Invalid value: \"v\": must not already exist in volumeDevices",
        ),
        (
            "resources: {limits: {cpu: -1}}",
            "resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        (
            "resources: {limits: {example.com/gpu: 500m}}",
            "resources.limits[example.com/gpu]: Invalid value: \"500m\": must be an integer",
        ),
        (
            "resources: {requests: {example.com/gpu: 1}}",
            "resources.limits: Required value: Limit must be set for non overcommitable resources",
        ),
        (
            "securityContext: {runAsGroup: 2147483648}",
            "securityContext.runAsGroup: Invalid value: 2147483648: must be between 0 and 2147483647, inclusive",
        ),
        (
            "securityContext: {seccompProfile: {type: Localhost}}",
            "securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
        ),
        (
            "securityContext: {seccompProfile: {type: RuntimeDefault, localhostProfile: x}}",
            "securityContext.seccompProfile.localhostProfile: Invalid value: {\"Type\":\"RuntimeDefault\",\"LocalhostProfile\":\"x\"}: can only be set when seccomp type is Localhost",
        ),
        (
            "securityContext: {procMount: Foo}",
            "securityContext.procMount: Unsupported value: \"Foo\": supported values: \"Default\", \"Unmasked\"",
        ),
        (
            "livenessProbe: {tcpSocket: {port: 0}}",
            "livenessProbe.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            "livenessProbe: {httpGet: {port: web, scheme: FTP}}",
            "livenessProbe.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", \"HTTPS\"",
        ),
        (
            "readinessProbe: {exec: {command: [x]}, timeoutSeconds: -1}",
            "readinessProbe.timeoutSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "lifecycle: {preStop: {sleep: {seconds: 31}}}",
            "lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
        ),
        (
            "restartPolicy: Sometimes",
            "restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
        ),
        (
            "resizePolicy: [{resourceName: disk, restartPolicy: NotRequired}]",
            "resizePolicy: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\"",
        ),
    ];
    for (fields, expected) in cases {
        let text = with_container(fields);
        assert!(causes(&text).contains(&format!("{C}.{expected}")), "{fields}: {:?}", causes(&text));
    }
}

#[test]
fn fields_of_the_spec() {
    let cases = [
        (
            "volumes: [{name: v, hostPath: {path: /a, type: Dir}}]",
            "spec.volumes[0].hostPath.type: Unsupported value: \"Dir\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
        ),
        ("volumes: [{name: v, configMap: {}}]", "spec.volumes[0].configMap.name: Required value"),
        (
            "volumes: [{name: v, secret: {secretName: s, defaultMode: 01000}}]",
            "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
        ),
        (
            "volumes: [{name: v, configMap: {name: m, items: [{key: k, path: ../x}]}}]",
            "spec.volumes[0].configMap.items[0].path: Invalid value: \"../x\": must not contain '..'",
        ),
        (
            "volumes: [{name: v, emptyDir: {sizeLimit: -1}}]",
            "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
        ),
        (
            "volumes: [{name: v, cephfs: {monitors: [m]}, emptyDir: {}}]",
            "spec.volumes[0].cephFS: Forbidden: may not specify more than 1 volume type",
        ),
        (
            "dnsPolicy: None",
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            "dnsPolicy: Foo",
            "spec.dnsPolicy: Unsupported value: \"Foo\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"",
        ),
        ("hostUsers: false\n  hostPID: true", "spec.HostPID: Forbidden: when `hostUsers` is false"),
        (
            "securityContext: {fsGroup: -1}",
            "spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            "securityContext: {sysctls: [{name: A, value: b}]}",
            "spec.securityContext.sysctls[0].name: Invalid value: \"A\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
        ),
        (
            "tolerations: [{operator: Equal}]",
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        ),
        (
            "nodeSelector: {\"a b\": c}",
            "spec.nodeSelector: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
        (
            "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}",
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
        ),
        (
            "topologySpreadConstraints: [{maxSkew: 0, topologyKey: k, whenUnsatisfiable: DoNotSchedule}]",
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
        ),
        (
            "preemptionPolicy: Foo",
            "spec.preemptionPolicy: Unsupported value: \"Foo\": supported values: \"PreemptLowerPriority\", \"Never\"",
        ),
        ("initContainers: [{name: a, image: b}]", "spec.initContainers[0].name: Duplicate value: \"a\""),
        (
            "initContainers: [{name: i, image: b, livenessProbe: {exec: {command: [x]}}}]",
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
        (
            "ephemeralContainers: [{name: e, image: b}]",
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ),
        (
            "os: {name: plan9}",
            "spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\"",
        ),
        (
            "subdomain: A.b",
            "spec.subdomain: Invalid value: \"A.b\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ),
    ];
    for (lines, expected) in cases {
        let text = with_spec(lines);
        assert!(causes(&text).contains(&expected.to_owned()), "{lines}: {:?}", causes(&text));
    }
}

#[test]
fn config_maps_and_secrets() {
    let map = |rest: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\n{rest}\n");
    let secret = |rest: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{rest}\n");
    let cases = [
        (
            map("data: {a: 1}"),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            map("data: {\"a b\": c}"),
            "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        ),
        (
            map("data: {a: b}\nbinaryData: {a: Yg==}"),
            "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
        ),
        (map("dat: {a: b}"), "unknown field \"dat\""),
        (secret("data: {a: hello world}"), "illegal base64 data at input byte 5"),
        (secret("type: kubernetes.io/tls\nstringData: {tls.crt: x}"), "data[tls.key]: Required value"),
    ];
    for (text, expected) in cases {
        assert_eq!(causes(&text), [expected], "{text}");
    }
}

#[test]
fn objects_that_are_none() {
    let cases = [
        ("", "error: no objects passed to create\n"),
        (
            "a: b\n",
            "error: error validating \"f.yaml\": error validating data: [apiVersion not set, kind not set]; if you choose to ignore these errors, turn validation off with --validate=false\n",
        ),
        (
            "apiVersion: v1\nkind: 5\n",
            "error: error validating \"f.yaml\": error validating data: kind isn't string type; if you choose to ignore these errors, turn validation off with --validate=false\n",
        ),
        (
            "- a\n",
            "error: error validating \"f.yaml\": error validating data: invalid object to validate; if you choose to ignore these errors, turn validation off with --validate=false\n",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: x\n",
            "error: unable to decode \"f.yaml\": json: cannot unmarshal string into Go struct field metadataOnlyObject.metadata of type v1.ObjectMeta\n",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: 5}\n",
            "error: unable to decode \"f.yaml\": json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string\n",
        ),
        (
            "kind: \"\"\napiVersion: v1\n",
            "error: unable to decode \"f.yaml\": Object 'Kind' is missing in '{\"apiVersion\":\"v1\",\"kind\":\"\"}'\n",
        ),
        (
            "a: \u{1}\n",
            "error: error parsing f.yaml: error converting YAML to JSON: yaml: control characters are not allowed\n",
        ),
        ("--- a\n", "error: error parsing f.yaml: invalid Yaml document separator: a\n"),
        (
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: c}\nspec: {size: 1Gi}\n",
            "Error from server (BadRequest): error when creating \"f.yaml\": PersistentVolumeClaim in version \"v1\" cannot be handled as a PersistentVolumeClaim: strict decoding error: unknown field \"spec.size\"\n",
        ),
        (
            "apiVersion: v1\nkind: Widget\nmetadata: {name: w}\n",
            "error: resource mapping not found for name: \"w\" namespace: \"\" from \"f.yaml\": no matches for kind \"Widget\" in version \"v1\"\nensure CRDs are installed first\n",
        ),
        (
            "x: *none\n",
            "error: error parsing f.yaml: error converting YAML to JSON: yaml: unknown anchor 'none' referenced\n",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(run(text).map_err(|problems| kubectl_text(&problems)), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn near_misses_are_pointed_at() {
    let drawn = |text: &str| run(text).unwrap_err()[0].render(false);
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  label:\n    app: a\nspec:\n  containers: [{name: a, image: b}]\n";
    assert_eq!(
        drawn(text),
        "error: strict decoding error: unknown field \"metadata.label\"\n  --> f.yaml:5:3\n   |\n 5 |   label:\n   |   ^^^^^ did you mean \"labels\"?\n"
    );
    let text = with_container("volumeMounts: [{name: v, mountPath: /a, mountPropagation: Bidirectionl}]");
    assert!(drawn(&text).ends_with(" ^^^^^^^^^^^^ did you mean \"Bidirectional\"?\n"), "{}", drawn(&text));
    let text = with_container("volumeMounts: [{name: vv, mountPath: /a}]");
    assert!(drawn(&text).ends_with("^^ did you mean \"v\"?\n"), "{}", drawn(&text));
    let text = "apiVersion: apps/v1\nkind: Pod\nmetadata: {name: p}\n";
    assert!(
        drawn(text).ends_with(" 1 | apiVersion: apps/v1\n   |             ^^^^^^^ did you mean \"v1\"?\n"),
        "{}",
        drawn(text)
    );
}

/// All problems of all files at once, and nothing where there is one.
#[test]
fn all_files_are_told_of_at_once() {
    let sources = [
        Source {
            name: "a.yaml",
            bytes: b"apiVersion: v1\nkind: Pod\nmetadata: {name: A}\nspec: {containers: [{name: a}]}\n",
        },
        Source { name: "b.yaml", bytes: b"a: [\n" },
        Source {
            name: "c.yaml",
            bytes:
                b"apiVersion: v1\nkind: Pod\nmetadata: {name: c}\nspec: {containers: [{name: a, image: b}]}\n",
        },
    ];
    let problems = load(&sources, &Options::default()).unwrap_err();
    let found: Vec<_> = problems.iter().map(|p| (p.source_name.as_str(), p.path.as_str())).collect();
    assert_eq!(found, [("a.yaml", "metadata.name"), ("a.yaml", "spec.containers[0].image"), ("b.yaml", "")]);
}

#[test]
fn wrong_types_after_the_first_are_told_too_but_not_as_kubernetes() {
    let problems = run(&with_container("command: 5, args: 6")).unwrap_err();
    assert_eq!(problems.len(), 2);
    assert_eq!(problems.iter().filter(|problem| problem.told_by_kubernetes).count(), 1);
    assert!(kubectl_text(&problems).ends_with("Container.spec.containers.args of type []string\n"));
}

#[test]
fn validation_modes() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, label: {a: b}}\nspec: {containers: [{name: a, image: b}]}\n";
    let source = [Source { name: "f.yaml", bytes: text.as_bytes() }];
    let with = |validation| load(&source, &Options { validation, namespace: None });
    assert!(with(ValidationMode::Strict).is_err());
    let warned = with(ValidationMode::Warn).unwrap();
    assert_eq!(
        warned.warnings.iter().map(|warning| warning.message.as_str()).collect::<Vec<_>>(),
        ["unknown field \"metadata.label\""]
    );
    assert!(with(ValidationMode::Ignore).unwrap().warnings.is_empty());
    assert_eq!(warned.pods().count(), 1);
}

#[test]
fn names_are_taken_once_and_namespaces_must_agree() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: b}]}\n";
    let twice = format!("{pod}---\n{pod}");
    assert_eq!(
        run(&twice).map_err(|problems| kubectl_text(&problems)),
        Err("Error from server (AlreadyExists): error when creating \"f.yaml\": pods \"p\" already exists\n"
            .to_owned())
    );
    let other = pod.replace("name: p", "name: p, namespace: x");
    let options = Options { namespace: Some("y"), ..Options::default() };
    let problems = load(&[Source { name: "f.yaml", bytes: other.as_bytes() }], &options).unwrap_err();
    assert_eq!(
        kubectl_text(&problems),
        "error: the namespace from the provided object \"x\" does not match the namespace \"y\". You must pass '--namespace=x' to perform this operation.\n"
    );
    let loaded = load(&[Source { name: "f.yaml", bytes: pod.as_bytes() }], &options).unwrap();
    assert_eq!(loaded.objects[0].id.namespace, "y");
}

#[test]
fn lists_are_taken_apart() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: m}}\n- {apiVersion: v1, kind: Pod, metadata: {name: P}, spec: {containers: [{name: a, image: b}]}}\n- {kind: Pod}\n";
    let problems = run(text).unwrap_err();
    let said: Vec<_> =
        problems.iter().map(|problem| problem.message.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(said, ["metadata.name", "Object 'apiVersion' is missing in '{\"kind\":\"Pod\"}'"]);
    assert_eq!(problems[0].position.line, 5);
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let warned = |fields: &str| -> Vec<String> {
        run(&with_container(fields)).unwrap().warnings.into_iter().map(|warning| warning.message).collect()
    };
    assert_eq!(
        warned("env: [{name: A, value: p}, {name: A, value: q}, {name: A, value: $(A)r}]"),
        [
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply"
        ]
    );
    assert_eq!(
        warned("ports: [{containerPort: 80}, {containerPort: 80}, {containerPort: 80, protocol: UDP}]"),
        ["spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"]
    );
    assert_eq!(
        warned("resources: {limits: {memory: 100m}}"),
        [
            "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
            "spec.containers[0].resources.requests[memory]: fractional byte value \"100m\" is invalid, must be an integer"
        ]
    );
}

/// A volume of an unknown kind is left out, as by the API server, and so becomes an emptyDir.
#[test]
fn what_is_left_out_is_not_refused() {
    let text = with_spec("volumes: [{name: v, bindMount: {path: /mnt}}]");
    let options = Options { validation: ValidationMode::Ignore, ..Options::default() };
    let loaded = load(&[Source { name: "f.yaml", bytes: text.as_bytes() }], &options).unwrap();
    let volumes = loaded.pods().next().unwrap().spec.as_ref().unwrap().volumes.as_ref().unwrap();
    assert!(volumes[0].empty_dir.is_some() && loaded.warnings.is_empty() && loaded.notes.is_empty());
}

/// An object as `kubectl get -o yaml` prints it can be run again.
#[test]
fn what_only_a_server_says_is_left_out() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, uid: u, resourceVersion: \"5\", creationTimestamp: 2024-01-02T03:04:05Z, labels: {a: b}}\nspec: {containers: [{name: a, image: b}]}\nstatus: {phase: Running}\n";
    let loaded = run(text).unwrap();
    let pod = loaded.pods().next().unwrap();
    assert_eq!(pod.metadata.labels.as_ref().map(|labels| labels.len()), Some(1));
    assert!(pod.metadata.uid.is_none() && pod.metadata.resource_version.is_none() && pod.status.is_none());
    assert!(pod.metadata.creation_timestamp.is_none());
}

#[test]
fn persistent_volumes_and_claims() {
    let claim = |spec: &str| {
        format!("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: c}}\nspec: {{{spec}}}\n")
    };
    let volume = |spec: &str| {
        format!("apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: v}}\nspec: {{{spec}}}\n")
    };
    const SIZE: &str = "resources: {requests: {storage: 1Gi}}";
    const PV: &str = "capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce]";
    let cases = [
        (claim(SIZE), "spec.accessModes: Required value: at least 1 access mode is required"),
        (
            claim(&format!("accessModes: [Once], {SIZE}")),
            "spec.accessModes: Unsupported value: \"Once\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
        ),
        (
            claim(&format!("accessModes: [ReadWriteOncePod, ReadWriteOnce], {SIZE}")),
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
        ),
        (claim("accessModes: [ReadWriteOnce]"), "spec.resources[storage]: Required value"),
        (
            claim("accessModes: [ReadWriteOnce], resources: {requests: {storage: 0}}"),
            "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
        ),
        (
            claim(&format!("accessModes: [ReadWriteOnce], volumeMode: Raw, {SIZE}")),
            "spec.volumeMode: Unsupported value: \"Raw\": supported values: \"Block\", \"Filesystem\"",
        ),
        (volume("hostPath: {path: /a}, accessModes: [ReadWriteOnce]"), "spec.capacity: Required value"),
        (volume(PV), "spec: Required value: must specify a volume type"),
        (
            volume(&format!("{PV}, hostPath: {{path: /a}}, local: {{path: /b}}")),
            "spec.local: Forbidden: may not specify more than 1 volume type",
        ),
        (
            volume(&format!("{PV}, local: {{path: /b}}")),
            "spec.nodeAffinity: Required value: Local volume requires node affinity",
        ),
        (
            volume(&format!("{PV}, hostPath: {{path: ../a}}")),
            "spec.hostPath.path: Invalid value: \"../a\": must not contain '..'",
        ),
        (
            volume(&format!("{PV}, hostPath: {{path: /a}}, persistentVolumeReclaimPolicy: Keep")),
            "spec.persistentVolumeReclaimPolicy: Unsupported value: \"Keep\": supported values: \"Delete\", \"Recycle\", \"Retain\"",
        ),
        (
            volume(&format!("{PV}, nfs: {{server: s, path: /a}}")),
            "spec.nfs: not supported yet by this version of rhizome",
        ),
    ];
    for (text, expected) in cases {
        assert!(causes(&text).contains(&expected.to_owned()), "{text}: {:?}", causes(&text));
    }
}

#[test]
fn claims_are_bound_among_the_objects_of_all_files() {
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: c}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n";
    let volume = "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: v}\nspec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /a}}\n";
    let pod = with_spec(
        "volumes: [{name: a, persistentVolumeClaim: {claimName: c}}, {name: b, persistentVolumeClaim: {claimName: d}}]",
    );
    let loaded = load(
        &[
            Source { name: "a", bytes: claim.as_bytes() },
            Source { name: "b", bytes: pod.as_bytes() },
            Source { name: "c", bytes: volume.as_bytes() },
        ],
        &Options::default(),
    )
    .unwrap();
    let place = serde_json::to_value(&loaded.claims["default"]["c"]).unwrap();
    assert_eq!(place, serde_json::json!({"hostPath": {"path": "/a", "type": ""}}));
    let notes: Vec<String> = loaded.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "Pod \"p\": claim \"d\" is not in these files: a folder of the root, claims/default/d, which stays when pods are removed"
        ]
    );
    let bad = with_spec("volumes: [{name: a, persistentVolumeClaim: {claimName: ../c}}]");
    assert!(
        causes(&bad)[0]
            .starts_with("spec.volumes[0].persistentVolumeClaim.claimName: Invalid value: \"../c\"")
    );
}
