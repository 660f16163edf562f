//! What the cluster's programs are told: their settings files and their command lines. Pure
//! but for writing the files; starts nothing.

use std::fs;

use anyhow::{Context as _, Result};

use super::layout::{API_PORT, Layout, NODE_ADDRESS, PAUSE_IMAGE, POD_RANGE, SERVICE_RANGE};

/// Those who speak to the API server, by the name of their certificate.
const USERS: &[&str] = &["admin", "controller-manager", "scheduler", "proxy", "node", "coredns"];

const KUBECONFIG: &str = include_str!("../../cluster/settings/kubeconfig.yaml");
/// Settings files: where they go below the folder of settings, and their text.
const SETTINGS: &[(&str, &str)] = &[
    ("kubelet.yaml", include_str!("../../cluster/settings/kubelet.yaml")),
    ("kube-proxy.yaml", include_str!("../../cluster/settings/kube-proxy.yaml")),
    ("containerd.toml", include_str!("../../cluster/settings/containerd.toml")),
    ("cni/10-pods.conflist", include_str!("../../cluster/settings/cni.json")),
    ("Corefile", include_str!("../../cluster/settings/Corefile")),
    ("storage-class.yaml", include_str!("../../cluster/settings/storage-class.yaml")),
];
pub(crate) const VOLUME: &str = include_str!("../../cluster/settings/volume.yaml");

/// Writes all settings files.
pub(crate) fn write_settings(layout: &Layout) -> Result<()> {
    let kubeconfigs = USERS
        .iter()
        .map(|user| (layout.kubeconfig(user), render(layout, &KUBECONFIG.replace("@user@", user))));
    let settings = SETTINGS.iter().map(|(file, text)| (layout.settings().join(file), render(layout, text)));
    for (file, text) in kubeconfigs.chain(settings) {
        let folder = file.parent().context("a settings file lies in a folder")?;
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&file, text))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Fills in what a settings file leaves open.
pub(crate) fn render(layout: &Layout, text: &str) -> String {
    text.replace("@root@", &layout.root().display().to_string())
        .replace("@name@", layout.name())
        .replace("@cgroup@", &layout.cgroup())
        .replace("@node-address@", NODE_ADDRESS)
        .replace("@api-port@", &API_PORT.to_string())
        .replace("@pod-range@", POD_RANGE)
        .replace("@pause-image@", PAUSE_IMAGE)
}

/// One program of the cluster with its command line.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<String>,
}

/// The store and the API server: the others need them.
pub(crate) fn first(layout: &Layout) -> Vec<Program> {
    vec![etcd(layout), apiserver(layout), containerd(layout)]
}

/// The programs that need the API server.
pub(crate) fn second(layout: &Layout) -> Vec<Program> {
    vec![controller_manager(layout), scheduler(layout), kubelet(layout), proxy(layout), dns(layout)]
}

fn etcd(layout: &Layout) -> Program {
    Program {
        name: "etcd",
        arguments: words([
            format!("--data-dir={}", layout.root().join("etcd").display()),
            "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
            "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
            // The cluster does not outlive a crash of the machine, so nothing is gained by it.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ]),
    }
}

fn apiserver(layout: &Layout) -> Program {
    let at = |file: &str| layout.certificates().join(file).display().to_string();
    Program {
        name: "kube-apiserver",
        arguments: words([
            "--etcd-servers=http://127.0.0.1:2379".to_owned(),
            "--bind-address=0.0.0.0".to_owned(),
            format!("--advertise-address={NODE_ADDRESS}"),
            format!("--secure-port={API_PORT}"),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            format!("--client-ca-file={}", at("authority.crt")),
            format!("--tls-cert-file={}", at("apiserver.crt")),
            format!("--tls-private-key-file={}", at("apiserver.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-signing-key-file={}", at("tokens.key")),
            format!("--service-account-key-file={}", at("tokens.pub")),
            format!("--kubelet-client-certificate={}", at("apiserver-to-kubelet.crt")),
            format!("--kubelet-client-key={}", at("apiserver-to-kubelet.key")),
            format!("--kubelet-certificate-authority={}", at("authority.crt")),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
        ]),
    }
}

fn controller_manager(layout: &Layout) -> Program {
    let at = |file: &str| layout.certificates().join(file).display().to_string();
    let mut arguments = control_plane_user(layout, "controller-manager");
    arguments.extend(words([
        "--use-service-account-credentials=true".to_owned(),
        format!("--service-account-private-key-file={}", at("tokens.key")),
        format!("--root-ca-file={}", at("authority.crt")),
        format!("--cluster-signing-cert-file={}", at("authority.crt")),
        format!("--cluster-signing-key-file={}", at("authority.key")),
    ]));
    Program { name: "kube-controller-manager", arguments }
}

fn scheduler(layout: &Layout) -> Program {
    Program { name: "kube-scheduler", arguments: control_plane_user(layout, "scheduler") }
}

fn control_plane_user(layout: &Layout, user: &str) -> Vec<String> {
    let kubeconfig = layout.kubeconfig(user).display().to_string();
    words([
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--leader-elect=false".to_owned(),
    ])
}

fn containerd(layout: &Layout) -> Program {
    let settings = layout.settings().join("containerd.toml");
    Program { name: "containerd", arguments: words([format!("--config={}", settings.display())]) }
}

fn kubelet(layout: &Layout) -> Program {
    Program {
        name: "kubelet",
        arguments: words([
            format!("--config={}", layout.settings().join("kubelet.yaml").display()),
            format!("--kubeconfig={}", layout.kubeconfig("node").display()),
            format!("--hostname-override={}", layout.name()),
            format!("--node-ip={NODE_ADDRESS}"),
            format!("--root-dir={}", layout.root().join("kubelet").display()),
        ]),
    }
}

fn proxy(layout: &Layout) -> Program {
    let settings = layout.settings().join("kube-proxy.yaml");
    Program { name: "kube-proxy", arguments: words([format!("--config={}", settings.display())]) }
}

fn dns(layout: &Layout) -> Program {
    let settings = layout.settings().join("Corefile");
    Program { name: "coredns", arguments: words([format!("-conf={}", settings.display())]) }
}

fn words<const N: usize>(words: [String; N]) -> Vec<String> {
    words.into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Goal: nothing is left open in a rendered file, and each file is what its reader parses.
    #[test]
    fn settings_are_filled_in_and_parse() {
        let layout = Layout::under(Path::new("/state/test"));
        let all = SETTINGS.iter().copied().chain([("kubeconfig.yaml", KUBECONFIG), ("volume.yaml", VOLUME)]);
        for (name, text) in all {
            let text = render(&layout, text).replace("@user@", "admin").replace("@volume@", "one");
            assert!(!text.contains('@'), "{name} leaves something open:\n{text}");
            if name.ends_with(".yaml") {
                serde_yaml::from_str::<serde_yaml::Value>(&text).unwrap();
            }
            if name.ends_with(".conflist") {
                serde_json::from_str::<serde_json::Value>(&text).unwrap();
            }
        }
    }

    /// Goal: whatever the programs are told to read or write lies in the cluster's own folder.
    #[test]
    fn programs_use_only_the_clusters_folder() {
        let layout = Layout::under(Path::new("/state/test"));
        for program in first(&layout).into_iter().chain(second(&layout)) {
            for argument in &program.arguments {
                if let Some((_, path)) = argument.split_once("=/") {
                    assert!(path.starts_with("state/test/"), "{}: {argument}", program.name);
                }
            }
        }
    }
}
