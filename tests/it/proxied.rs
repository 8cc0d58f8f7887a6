//! A bank that is reached through a proxy and from a fixed address, because the operator approved that.

use crate::door_uk::{Door, setup};
use tests::proxy::Proxy;
use tests::world::{DEMO_BANK, WorldConfig};

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_linked_and_synced_through_the_approved_proxy_and_another_one_needs_approval() {
    let (proxy, other) = (Proxy::start().await.unwrap(), Proxy::start().await.unwrap());
    let way = |proxy: &Proxy| {
        format!("[egress]\nproxy = \"http://{}\"\nlocal-address = \"127.0.0.2\"", proxy.address())
    };
    let allow = vec![proxy.address().to_string(), other.address().to_string()];
    let mut door = Door::open(WorldConfig { demo_bank: way(&proxy), allow, ..setup() }, 3).await;
    let linked = door.linked().await;
    let everyday = linked.everyday().to_owned();
    linked.good_sync(&everyday).await;
    linked.assert_like_the_bank(&door.world.bank, &everyday).await;
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|one| one.from.to_string() == "127.0.0.2"), "{asked:?}");
    let secure = door.world.bank.tls_origin().unwrap().replace("https://", "");
    assert!(asked.iter().any(|one| one.target == secure), "{secure}: {asked:?}");

    // Whoever changes the way to a bank must ask the operator, who is shown it.
    let profile = door.world.folder().join("institutions").join(format!("{DEMO_BANK}.toml"));
    let text = std::fs::read_to_string(&profile).unwrap();
    std::fs::write(&profile, text.replace(&way(&proxy), &way(&other))).unwrap();
    door.world.restart().await.unwrap();
    let listed = door.world.tidegate(&["institution", "list"]).unwrap();
    assert!(listed.contains("the way to it, changed since they were approved"), "{listed}");
    let approved = door.world.tidegate(&["institution", "approve", DEMO_BANK, "--yes"]).unwrap();
    for line in
        [format!("through the proxy http://{}", other.address()), "from the address 127.0.0.2".to_owned()]
    {
        assert!(approved.contains(&line), "{approved}");
    }
}
