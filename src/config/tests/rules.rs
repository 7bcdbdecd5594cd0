//! Claims about rules between keys: text in, faults out.

use crate::config::tests::{assert_faults, read};

#[test]
fn a2_the_admin_api_is_not_opened_to_others_without_a_long_token() {
    let open = "[server]\nlisten = \"0.0.0.0:80\"\n";
    let without = "without \"token\" in [admin] the admin API must listen on a loopback address";
    assert_faults(open, &[(2, 10, without)]);
    assert_faults("[admin]\nlisten = \"[::]:80\"\n", &[(2, 10, without)]);
    assert_faults(&format!("{open}[admin]\ntoken = \"short\"\n"), &[(4, 9, "at least 32 bytes")]);
    assert_faults("[admin]\ntoken = \"\"", &[(2, 9, "the token is empty")]);
    assert_faults(&format!("{open}[admin]\ntoken = 3\n"), &[(4, 9, "\"token\" takes text in quotes")]);
    for good in ["[admin]\ntoken = \"${env:LONG}\"", "[admin]\nlisten = \"127.0.0.1:81\"\ntoken = \"short\""] {
        read(&format!("{open}{good}")).unwrap();
    }
    read("server.listen = \"[::ffff:127.0.0.1]:80\"").unwrap();
}

#[test]
fn keys_must_fit_each_other() {
    for (keys, line, column, message) in [
        ("command = [\"x\"]", 4, 1, "\"command\" requires runtime = \"command\""),
        ("worker_script = \"x\"", 4, 1, "requires runtime = \"metacall\""),
        (
            "runtime = \"command\"\ncommand = [\"x\"]\ninterpreter = \"x\"",
            6,
            1,
            "cannot be used with runtime = \"command\"",
        ),
        ("workers = { min = 3, max = 2 }", 4, 11, "min is larger than max"),
        ("workers = 65", 4, 11, "from 1 to 64"),
        ("runtime = \"command\"\ncommand = []", 5, 11, "the program is missing"),
        ("env.LD_PRELOAD = \"x\"", 4, 5, "\"LD_PRELOAD\" may not be set"),
        ("env.A-B = \"x\"", 4, 5, "cannot name an environment variable"),
    ] {
        let text = format!("[[deployment]]\nname = \"math\"\npath = \"math\"\n{keys}\n");
        assert_faults(&text, &[(line, column, message)]);
    }
}

#[test]
fn a_cluster_has_servers_and_one_way_to_prove_who_it_is() {
    let table = |keys: &str| format!("[cluster]\nname = \"c\"\nnats = [\"nats://127.0.0.1\"]\n{keys}\n");
    read(&table("user = \"a\"\npassword = \"b\"")).unwrap();
    let secure = table("ca = \"ca.pem\"").replace("nats://", "tls://");
    read(&secure).unwrap();
    assert_faults("[cluster]\nname = \"c\"\n", &[(1, 1, "needs \"nats\"")]);
    assert_faults("[cluster]\nname = \"a.b\"\nnats = []\n", &[(2, 8, "is not a name"), (3, 8, "the list is empty")]);
    for (keys, line, column, message) in [
        ("secret = \"short\"", 4, 10, "at least 32 bytes"),
        ("user = \"a\"", 4, 8, "\"user\" needs \"password\""),
        ("token = \"a\"\ncredentials = \"f\"", 5, 15, "NATS servers take one of them"),
        ("cert = \"c.pem\"\nkey = \"k.pem\"", 4, 8, "\"cert\" is for addresses with tls://"),
        ("replicas = 7", 4, 12, "from 1 to 5"),
        ("wait = \"some\"", 4, 8, "\"all\", \"quorum\" or \"one\""),
    ] {
        assert_faults(&table(keys), &[(line, column, message)]);
    }
}

#[test]
fn callbacks_are_signed_and_go_only_to_permitted_places() {
    let secret = "secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"";
    let table = |keys: &str| format!("[async.callbacks]\nhttp = [\"https://a.example\"]\n{keys}\n");
    read(&table(secret)).unwrap();
    assert_faults(&table(""), &[(2, 8, "\"http\" needs \"secret\" in [async.callbacks]")]);
    assert_faults(&table("secret = \"c2hvcnQ=\""), &[(3, 10, "24 to 64 bytes in base64")]);
    let deployment = |url: &str| {
        let keys = format!("[[deployment]]\nname = \"m\"\npath = \"m\"\nasync = {{ callback = \"{url}\" }}\n");
        format!("{}{keys}", table(secret))
    };
    read(&deployment("https://a.example/orders?shop=1")).unwrap();
    let other = "does not permit \"https://b.example\"";
    assert_faults(&deployment("https://b.example/orders"), &[(7, 22, other)]);
    assert_faults(&deployment("/orders"), &[(7, 22, "an absolute URL")]);
    let schedule = "[[schedule]]\nto = \"m/f\"\nevery = \"1m\"\ncallback = \"https://b.example/\"\n";
    assert_faults(&format!("{}{schedule}", deployment("https://a.example/")), &[(11, 12, other)]);
}

#[test]
fn a_name_serves_once_but_a_folder_may_serve_twice() {
    let one = |name: &str| format!("[[deployment]]\nname = \"{name}\"\npath = \"x\"\n");
    read(&(one("a") + &one("b"))).unwrap();
    assert_faults(&(one("a") + &one("a")), &[(5, 8, "taken by the deployment of line 2")]);
    let inline = "plugin = [{ name = \"a\", path = \"x\" }, { name = \"a\", path = \"x\" }]";
    assert_faults(inline, &[(1, 48, "taken by the plugin of line 1")]);
    assert_faults(&one("api"), &[(2, 8, "reserved")]);
}

#[test]
fn users_and_networks_need_their_isolation() {
    let is_root = rustix::process::geteuid().is_root();
    let deployment = |keys: &str| format!("[[deployment]]\nname = \"math\"\npath = \"math\"\n{keys}\n");
    let network = "network = [\"db.example.com:5432\"]";
    assert_faults(&deployment(network), &[(4, 11, "\"network\" requires isolation = \"strict\"")]);
    assert_faults(&format!("[deploy]\n{network}"), &[(2, 11, "\"network\" requires isolation = \"strict\"")]);
    assert_faults(&deployment("network = [\"db\"]"), &[(4, 12, "a host with a port")]);
    assert_faults(&deployment("run_as = \"root\""), &[(4, 10, "a user other than root")]);
    let none = "isolation = \"none\"\nrun_as = \"100-200\"";
    assert_faults(&deployment(none), &[(5, 10, "cannot be used with isolation = \"none\"")]);
    let missing = deployment("run_as = \"no-such-user\"");
    let strict = deployment("isolation = \"strict\"");
    if is_root {
        assert_faults(&missing, &[(4, 10, "this machine has no user \"no-such-user\"")]);
        assert_faults(&strict, &[(4, 13, "as root needs \"run_as\"")]);
        assert_faults("[deploy]\nisolation = \"strict\"", &[(2, 13, "as root needs \"run_as\"")]);
        read(&(deployment("isolation = \"strict\"\nrun_as = \"100-200\"") + network)).unwrap();
    } else {
        assert_faults(&missing, &[(4, 10, "needs a gateway that runs as root")]);
        read(&(strict + network)).unwrap();
    }
}
