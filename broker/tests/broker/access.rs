//! With TLS nobody may do anything that no rule allows.

use std::{collections::BTreeMap, path::Path};

use kafka_admin::{
    Admin, Security, Settings,
    acls::{Acl, AclFilter, Operation, Pattern, ResourceKind},
    topics::NewTopic,
};
use kafka_wire::{
    ErrorCode,
    messages::{CreateAclsRequest, create_acls::AclCreation},
};
use runtime::tls::{Credentials, Material};
use testkit::certificates::{Pem, TestAuthority};

use crate::support::{Broker, command, kcat, wait_for};

fn write(folder: &Path, name: &str, pem: &Pem) -> std::path::PathBuf {
    let folder = folder.join(name);
    std::fs::create_dir(&folder).unwrap();
    pem.write_to(&folder).unwrap();
    folder
}

/// kcat under a service account's certificate; whether it worked, and its words.
fn as_account(broker: &Broker, certificates: &Path, arguments: &[&str], input: &str) -> (bool, String) {
    let file = |name: &str| certificates.join(name).to_str().unwrap().to_owned();
    let mut all: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
    for (key, value) in [
        ("security.protocol", "ssl".to_owned()),
        ("ssl.ca.location", file("ca.crt")),
        ("ssl.certificate.location", file("tls.crt")),
        ("ssl.key.location", file("tls.key")),
        ("message.timeout.ms", "10000".to_owned()),
    ] {
        all.extend(["-X".to_owned(), format!("{key}={value}")]);
    }
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let output = kcat(broker.kafka, &all, input);
    let words =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), words)
}

fn rule(topic: &str, principal: &str, operation: Operation) -> Acl {
    Acl {
        resource: ResourceKind::Topic,
        name: topic.to_owned(),
        pattern: Pattern::Literal,
        principal: principal.to_owned(),
        operation,
    }
}

/// Goal: without a rule a topic is denied by its own error; with one exactly that operation works; the super user
/// needs none; nobody comes in without a certificate of the authority.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_without_a_rule() {
    runtime::tls::install_provider();
    let folder = tempfile::tempdir().unwrap();
    let authority = TestAuthority::new();
    let server = write(folder.path(), "server", &authority.server(&["127.0.0.1", "localhost"]));
    let publisher = write(folder.path(), "publisher", &authority.account("shop", "checkout"));
    let other = write(folder.path(), "other", &authority.account("shop", "other"));
    let stranger = write(folder.path(), "stranger", &TestAuthority::new().account("shop", "checkout"));
    let operator = authority.account("pinnace-system", "pinnace-operator");
    let mut command = command(folder.path());
    command.args(["--tls-listen", "127.0.0.1:0", "--super-user", "pinnace-system/pinnace-operator"]);
    command.arg("--tls-dir").arg(&server);
    let broker = Broker::run(command, folder.path());

    let material = Material::from_pem(&operator.chain, &operator.key, &operator.bundle).unwrap();
    let security = Security::Tls { credentials: Credentials::new(material), server_names: Vec::new() };
    let admin = Admin::new(Settings::new(vec![broker.kafka.to_string()], security, "test"));
    let orders =
        NewTopic { name: "orders".to_owned(), partitions: 1, replicas: None, config: BTreeMap::new() };
    admin.create_topic(orders).await.unwrap();

    let (worked, words) = as_account(&broker, &publisher, &["-P", "-t", "orders"], "one\n");
    assert!(!worked && words.contains("Topic authorization failed"), "{words}");
    let rules = [
        rule("orders", "User:shop/checkout", Operation::Write),
        rule("orders", "User:shop/checkout", Operation::Describe),
    ];
    admin.create_acls(&rules).await.unwrap();
    let (worked, words) = as_account(&broker, &publisher, &["-P", "-t", "orders"], "one\n");
    assert!(worked, "{words}");
    let consume = ["-C", "-t", "orders", "-e", "-q", "-o", "beginning"];
    let (_, words) = as_account(&broker, &publisher, &consume, "");
    assert!(words.contains("Topic authorization failed"), "writing is not reading: {words}");
    let (_, words) = as_account(&broker, &other, &consume, "");
    assert!(words.contains("Topic authorization failed"), "{words}");
    admin.create_acls(&[rule("orders", "User:shop/*", Operation::Read)]).await.unwrap();
    let (worked, words) = as_account(&broker, &other, &consume, "");
    assert!(worked && words.contains("one"), "the whole namespace may read: {words}");
    let (worked, words) = as_account(&broker, &stranger, &consume, "");
    assert!(!worked && !words.contains("one\n"), "another authority's certificate: {words}");
    admin.delete_acls(&rules).await.unwrap();
    let (worked, _) = as_account(&broker, &publisher, &["-P", "-t", "orders"], "two\n");
    assert!(!worked);
    broker.stop();
}

/// Goal: certificates that change on disk are used without a restart: a client that trusts the new authority alone
/// comes in, one that trusts the old one alone no longer does.
#[test]
fn certificates_are_read_again() {
    runtime::tls::install_provider();
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (TestAuthority::new(), TestAuthority::new());
    let server = write(folder.path(), "server", &before.server(&["127.0.0.1"]));
    let old = write(folder.path(), "old", &before.account("shop", "checkout"));
    let new = write(folder.path(), "new", &after.account("shop", "checkout"));
    let mut command = command(folder.path());
    command.args(["--tls-listen", "127.0.0.1:0", "--super-user", "shop/checkout", "--tls-dir"]).arg(&server);
    let broker = Broker::run(command, folder.path());
    let list = ["-L", "-m", "3"];
    assert!(as_account(&broker, &old, &list, "").0);
    assert!(!as_account(&broker, &new, &list, "").0);
    after.server(&["127.0.0.1"]).write_to(&server).unwrap();
    wait_for("the new certificate", || as_account(&broker, &new, &list, "").0.then_some(()));
    assert!(!as_account(&broker, &old, &list, "").0);
}

/// Goal: the listener without TLS has Kafka's authorizer when the settings ask for it: rules deny and allow by name
/// and address, what no rule is about is as the settings say, and without an authorizer there are no rules to ask for.
#[tokio::test(flavor = "multi_thread")]
async fn the_plain_listener_has_an_authorizer_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings");
    let authorizer = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n";
    std::fs::write(&settings, format!("{authorizer}allow.everyone.if.no.acl.found=true\n")).unwrap();
    let start = || {
        let mut command = command(folder.path());
        command.args(["--listen", "127.0.0.1:0", "--auto-create-topics", "--config"]).arg(&settings);
        Broker::run(command, folder.path())
    };
    let broker = start();
    let admin =
        |broker: &Broker| Admin::new(Settings::new(vec![broker.kafka.to_string()], Security::Plain, "test"));
    let produce = |broker: &Broker| kcat(broker.kafka, &["-P", "-t", "orders"], "one\n").status.success();
    assert!(produce(&broker), "no rule is about the topic");
    admin(&broker).create_acls(&[rule("orders", "User:somebody", Operation::Write)]).await.unwrap();
    assert!(!produce(&broker), "there is a rule, for somebody else");
    let rules = [rule("orders", "User:ANONYMOUS", Operation::Write)];
    admin(&broker).create_acls(&rules).await.unwrap();
    assert!(produce(&broker));
    let deny = AclCreation {
        resource_type: 2,
        resource_name: "orders".to_owned(),
        resource_pattern_type: 3,
        principal: "User:*".to_owned(),
        host: "127.0.0.1".to_owned(),
        operation: 4,
        permission_type: 2,
    };
    let create = |host: &str| CreateAclsRequest {
        creations: vec![AclCreation { host: host.to_owned(), ..deny.clone() }],
    };
    let answer = broker.connect().call(&create("localhost"), 2);
    assert_eq!(answer.results[0].error_code, ErrorCode::InvalidRequest.code(), "{answer:?}");
    assert_eq!(broker.connect().call(&create("10.1.2.3"), 2).results[0].error_code, 0);
    assert!(produce(&broker), "another address is denied");
    assert_eq!(broker.connect().call(&create("127.0.0.1"), 2).results[0].error_code, 0);
    assert!(!produce(&broker));
    broker.stop();
    std::fs::write(&settings, format!("{authorizer}super.users=User:root;User:ANONYMOUS\n")).unwrap();
    let broker = start();
    assert!(produce(&broker), "no rule holds for a super user");
    assert_eq!(admin(&broker).describe_acls(&AclFilter::default()).await.unwrap().len(), 2);
    broker.stop();
    std::fs::write(&settings, "authorizer.class.name=\n").unwrap();
    let broker = start();
    let error = admin(&broker).describe_acls(&AclFilter::default()).await.unwrap_err();
    assert!(error.to_string().contains("list access rules"), "{error}");
    let answer = broker.connect().call(&create("*"), 2);
    assert_eq!(answer.results[0].error_code, ErrorCode::SecurityDisabled.code());
    broker.stop();
}
