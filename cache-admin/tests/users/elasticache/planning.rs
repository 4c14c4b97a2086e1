//! The planner: what comes next, what is refused, and that no way to the declared state locks anyone out.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use cache_admin::users::Scope;
use cache_admin::users::elasticache::{Access, Desired, GroupPlan, State, Step, may_add, may_finish, verify};
use cache_aws::elasticache::{Authentication, Status, User};
use proptest::prelude::*;

use super::{DECLARED, Declared, group, password, state, user};

const WIDE: &str = "on ~* +@all";

fn names(plan: &GroupPlan) -> Vec<String> {
    plan.steps
        .iter()
        .map(|step| format!("{} {}", step.name(), step.users().join(",")))
        .collect()
}

/// Everything as declared and in force.
fn settled(declared: &Declared) -> State {
    let empty = State::default();
    let plan = declared.plan(&empty);
    let steps = plan.steps.iter();
    steps.fold(empty, |state, step| state.after(step, &declared.desired))
}

#[test]
fn users_are_created_before_the_group_and_waited_for() -> Result<()> {
    let declared = Declared::of("valkey")?;
    let all = "app-billing,app-billing-reader,app-board,app-search";
    let plan = declared.plan(&State::default());
    assert_eq!(
        names(&plan),
        [
            "create_user app-billing".to_owned(),
            "create_user app-billing-reader".to_owned(),
            "create_user app-board".to_owned(),
            "create_user app-search".to_owned(),
            format!("wait {all}"),
            format!("create_group {all}"),
            format!("wait {all}"),
        ]
    );
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("app-keeper is left out")),
        "{:?}",
        plan.notes
    );
    let text: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    assert!(
        text[1].starts_with("create user app-billing-reader: 2 passwords, on %R~billing:*"),
        "{text:?}"
    );
    assert!(
        text[3].starts_with("create user app-search: IAM, on ~search:*"),
        "{text:?}"
    );
    Ok(())
}

#[test]
fn second_plan_does_nothing_however_access_strings_are_shown() -> Result<()> {
    for engine in ["valkey", "redis"] {
        let declared = Declared::of(engine)?;
        let mut state = settled(&declared);
        assert_eq!(declared.plan(&state).steps, []);
        assert_eq!(verify(&declared.desired, &state).1, []);
        for user in state.users.values_mut() {
            user.access = Access::read(&user.access).to_string();
        }
        assert_eq!(declared.plan(&state).steps, []);
    }
    Ok(())
}

#[test]
fn group_of_redis_gets_a_default_user_that_is_off_unless_it_has_one() -> Result<()> {
    let declared = Declared::of("redis")?;
    let plan = declared.plan(&State::default());
    assert_eq!(names(&plan)[0], "create_user app-users-default");
    assert_eq!(
        plan.steps[0].to_string(),
        "create user app-users-default: no password, off ~* -@all"
    );
    let mut open = user("default", WIDE, Authentication::NoPassword);
    open.engine = "redis".to_owned();
    let mut found = group(&["default"]);
    found.engine = "redis".to_owned();
    let plan = declared.plan(&state(vec![open], Some(found)));
    assert!(
        !names(&plan).iter().any(|name| name.contains("default")),
        "{plan:?}"
    );
    assert_eq!(plan.unguarded.iter().collect::<Vec<_>>(), ["default"]);
    Ok(())
}

#[test]
fn user_is_corrected_before_it_enters_the_group() -> Result<()> {
    let declared = Declared::of("valkey")?;
    let mut state = settled(&declared);
    let found = state.users.get_mut("app-billing").context("a user")?;
    found.access = WIDE.to_owned();
    found.authentication = Authentication::NoPassword;
    found.groups.clear();
    state
        .group
        .as_mut()
        .context("a group")?
        .users
        .retain(|id| id != "app-billing");
    let plan = declared.plan(&state);
    assert_eq!(
        names(&plan),
        [
            "modify_user app-billing",
            "wait app-billing",
            "add_to_group app-billing",
            "wait app-billing"
        ]
    );
    let text = plan.steps[0].to_string();
    assert!(
        text.contains("remove +@all, remove ~*")
            && text.ends_with("log in by 1 password instead of no password"),
        "{text}"
    );
    Ok(())
}

#[test]
fn undeclared_users_leave_the_group_before_they_are_deleted_and_others_stay() -> Result<()> {
    let declared = Declared::of("valkey")?;
    let mut found = settled(&declared);
    let old = ["app-old", "app-shared", "stranger"];
    for id in old {
        let mut user = user(id, "on ~old:* +get", Authentication::Password(1));
        user.groups.push("app-users".to_owned());
        if id == "app-shared" {
            user.groups.push("other-group".to_owned());
        }
        found.users.insert(id.to_owned(), user);
        found.group.as_mut().context("a group")?.users.push(id.to_owned());
    }
    let outside = user("app-outside", "on ~old:* +get", Authentication::Password(1));
    found.users.insert(outside.id.clone(), outside);
    let plan = declared.plan(&found);
    assert_eq!(
        names(&plan),
        [
            "remove_from_group app-old,app-shared",
            // The group.
            "wait ",
            "delete_user app-outside",
            "wait app-old",
            "delete_user app-old",
        ]
    );
    assert_eq!(plan.foreign.iter().collect::<Vec<_>>(), ["stranger"]);
    assert!(
        plan.notes
            .iter()
            .any(|note| note.contains("app-shared is not declared and is not deleted")),
        "{:?}",
        plan.notes
    );
    Ok(())
}

#[test]
fn user_that_says_it_is_in_the_group_is_not_deleted() -> Result<()> {
    let declared = Declared::of("valkey")?;
    let mut found = settled(&declared);
    let mut old = user("app-old", "on ~old:* +get", Authentication::Password(1));
    // The group has let go of it; ElastiCache's list of users does not show that yet.
    old.groups.push("app-users".to_owned());
    found.users.insert(old.id.clone(), old);
    assert_eq!(
        names(&declared.plan(&found)),
        ["wait app-old", "delete_user app-old"]
    );
    Ok(())
}

#[test]
fn apply_takes_no_way_to_log_in_away() -> Result<()> {
    let declared = Declared::of("valkey")?;
    for (id, found) in [
        ("app-billing", Authentication::Password(2)),
        ("app-billing", Authentication::Iam),
        ("app-search", Authentication::Password(1)),
    ] {
        let mut state = settled(&declared);
        state.users.get_mut(id).context("a user")?.authentication = found.clone();
        let plan = declared.plan(&state);
        assert_eq!(plan.steps, [], "{id} {found:?}");
        assert!(
            plan.held[0].starts_with(&format!("{id} still logs in by")),
            "{:?}",
            plan.held
        );
        let finish = GroupPlan::make(&declared.desired, &state, Scope::Retire(id));
        assert_eq!(names(&finish)[0], format!("modify_user {id}"), "{id} {found:?}");
    }
    Ok(())
}

#[test]
fn rotation_adds_the_second_password_and_sends_two_again_if_there_are_two() -> Result<()> {
    let declared = Declared::of("valkey")?;
    let mut state = settled(&declared);
    let account = declared
        .declaration
        .account("billing-reader")
        .context("an account")?;
    let id = "app-billing-reader";
    for (count, text, warns) in [
        (1, "accept a second password", false),
        (2, "accept exactly the 2 declared passwords", true),
    ] {
        state.users.get_mut(id).context("a user")?.authentication = Authentication::Password(count);
        let plan = GroupPlan::make(&declared.desired, &state, Scope::Only(id));
        assert_eq!(names(&plan), [format!("modify_user {id}"), format!("wait {id}")]);
        assert!(plan.steps[0].to_string().ends_with(text), "{}", plan.steps[0]);
        let warning = may_add(account, &declared.desired, &state)?;
        assert_eq!(warning.is_some(), warns, "{warning:?}");
    }
    let error = may_finish(account, &declared.desired, &state).expect_err("two are declared");
    assert!(error.to_string().contains("no next_password"), "{error}");
    let board = declared.declaration.account("board").context("an account")?;
    let error = may_add(board, &declared.desired, &state).expect_err("one is declared");
    assert!(
        error.to_string().contains("admins.board.next_password"),
        "{error}"
    );
    Ok(())
}

#[test]
fn what_elasticache_would_refuse_is_refused_before() -> Result<()> {
    let declared = Declared::of("valkey")?;
    let blocked = |change: &dyn Fn(&mut State)| {
        let mut state = settled(&declared);
        change(&mut state);
        let plan = declared.plan(&state);
        assert_eq!((plan.steps.len(), plan.blocked.len()), (0, 1), "{plan:?}");
        plan.blocked[0].clone()
    };
    let text = blocked(&|state| state.group.as_mut().unwrap().engine = "redis".to_owned());
    assert!(
        text.contains("is of the engine redis, the declaration says valkey"),
        "{text}"
    );
    let text = blocked(&|state| state.users.get_mut("app-billing").unwrap().name = "billing".to_owned());
    assert!(text.contains("belongs to a user with the name billing"), "{text}");
    let text = blocked(&|state| {
        state.users.get_mut("app-billing").unwrap().authentication =
            Authentication::Other("kerberos".to_owned());
    });
    assert!(text.contains("logs in by \"kerberos\""), "{text}");
    let text = blocked(&|state| {
        let mut twin = user("billing-1", WIDE, Authentication::Password(1));
        twin.name = "app-billing".to_owned();
        state.users.insert(twin.id.clone(), twin);
        state.group.as_mut().unwrap().users.push("billing-1".to_owned());
    });
    assert!(text.contains("under the id billing-1"), "{text}");
    let text = blocked(&|state| {
        for number in 0..97 {
            let stranger = user(&format!("stranger-{number}"), WIDE, Authentication::Password(1));
            state.group.as_mut().unwrap().users.push(stranger.id.clone());
            state.users.insert(stranger.id.clone(), stranger);
        }
    });
    assert!(
        text.contains("would have 101 users, 97 of them not declared in the file"),
        "{text}"
    );
    let plan = GroupPlan::make(&declared.desired, &State::default(), Scope::Only("app-billing"));
    assert!(
        plan.blocked[0].contains("apply --elasticache` comes first"),
        "{plan:?}"
    );

    let redis = Declared::of("redis")?;
    let mut state = settled(&redis);
    state.users.get_mut("app-billing").context("a user")?.engine = "valkey".to_owned();
    let plan = redis.plan(&state);
    assert!(
        plan.blocked[0].contains("which a group of the engine redis does not take"),
        "{plan:?}"
    );
    Ok(())
}

#[test]
fn declaration_that_elasticache_would_refuse_is_refused_before() -> Result<()> {
    let refused = |text: &str, group: Option<&str>, passwords: &dyn Fn(&str) -> String| {
        let declared = Declared::read(DECLARED).unwrap();
        let declaration = cache_admin::users::Declaration::parse(text).unwrap();
        let credentials =
            cache_admin::users::Credentials::read(&declaration, |name| Some(passwords(name))).unwrap();
        drop(declared);
        Desired::of(&declaration, &credentials, group)
            .expect_err("refused")
            .to_string()
    };
    let text = refused(DECLARED, None, &|name| format!("{}/@", password(name)));
    assert!(
        text.contains("services.billing.users.service: must have passwords without , \" / and @"),
        "{text}"
    );
    assert!(!text.contains("Zk3"), "{text}");
    for id in ["App_Users", "-x", "a--b", "", &"a".repeat(41)] {
        let text = refused(DECLARED, Some(id), &password);
        assert!(text.contains("--user-group: must be an id"), "{text}");
    }
    let keeper_alone = "prefix = 'app-'\n[admins.keeper]\nrole = 'acl-admin'\npassword = 'env:KEEPER'\n";
    let text = refused(keeper_alone, None, &password);
    assert!(text.contains("a group without users lets no one in"), "{text}");
    let hash = DECLARED.replace("env:BOARD", &format!("sha256:{}", "0a".repeat(32)));
    let text = refused(&hash, None, &password);
    assert!(text.contains("must have passwords by env: or file:"), "{text}");
    Ok(())
}

/// A user that may be there, in whatever shape.
fn any_user(
    id: &'static str,
    name: &'static str,
    engine: &'static str,
) -> impl Strategy<Value = (bool, User)> {
    let access = proptest::sample::select(vec![
        WIDE,
        "off ~* -@all",
        "on ~billing:* -@all +get",
        "on ~* +@all -get",
    ]);
    let authentication = proptest::sample::select(vec![
        Authentication::Password(1),
        Authentication::Password(2),
        Authentication::Iam,
        Authentication::NoPassword,
    ]);
    let status = proptest::sample::select(vec![
        Status::Active,
        Status::Active,
        Status::Active,
        Status::Creating,
        Status::Modifying,
        Status::Deleting,
        Status::Other("resting".to_owned()),
    ]);
    (any::<bool>(), access, authentication, status, any::<bool>()).prop_map(
        move |(member, access, authentication, status, other)| {
            let groups = if other {
                vec!["other-group".to_owned()]
            } else {
                Vec::new()
            };
            // ElastiCache does not let go of the user default of a group.
            let status = if name == "default" && status == Status::Deleting {
                Status::Active
            } else {
                status
            };
            let user = User {
                id: id.to_owned(),
                name: name.to_owned(),
                engine: engine.to_owned(),
                status,
                access: access.to_owned(),
                authentication,
                groups,
            };
            (member, user)
        },
    )
}

/// A state of the account, in which the group has the declared engine and, for redis, a user named default.
fn any_state(engine: &'static str) -> impl Strategy<Value = State> {
    let pool = [
        ("app-billing", "app-billing"),
        ("app-billing-reader", "app-billing-reader"),
        ("app-search", "app-search"),
        ("app-board", "app-board"),
        ("app-old", "app-old"),
        ("app-older", "app-older"),
        ("app-elsewhere", "elsewhere"),
        ("stranger", "stranger"),
        ("app-users-default", "default"),
    ];
    let users: Vec<_> = pool
        .into_iter()
        .map(|(id, name)| proptest::option::of(any_user(id, name, engine)))
        .collect();
    let status = proptest::sample::select(vec![
        Status::Active,
        Status::Active,
        Status::Modifying,
        Status::Creating,
    ]);
    (users, proptest::option::of(status), any::<bool>()).prop_map(move |(users, status, by_aws)| {
        let users: Vec<(bool, User)> = users.into_iter().flatten().collect();
        let mut all: Vec<User> = users.iter().map(|(_, user)| user.clone()).collect();
        let found = status.map(|status| {
            let mut found = group(&[]);
            found.engine = engine.to_owned();
            found.status = status;
            let members = users.iter().filter(|(member, _)| *member);
            found.users = members.map(|(_, user)| user.id.clone()).collect();
            if engine == "redis" && (by_aws || !found.users.iter().any(|id| id == "app-users-default")) {
                // The one of AWS.
                found.users.retain(|id| id != "app-users-default");
                found.users.push("default".to_owned());
                let mut default = user("default", WIDE, Authentication::NoPassword);
                default.engine = engine.to_owned();
                all.push(default);
            }
            found
        });
        state(all, found)
    })
}

fn is_member(state: &State, id: &str) -> bool {
    state
        .group
        .as_ref()
        .is_some_and(|group| group.users.iter().any(|user| user == id))
}

/// Users that can log in to a cache of the group, and in how many ways.
fn usable(state: &State) -> BTreeSet<(String, String)> {
    let users = state.users.values().filter(|user| {
        is_member(state, &user.id)
            && Access::read(&user.access).is_enabled()
            && user.status != Status::Deleting
    });
    users
        .map(|user| (user.id.clone(), format!("{:?}", user.authentication)))
        .collect()
}

fn holds(declared: &Declared, start: &State) -> Result<(), TestCaseError> {
    let plan = declared.plan(start);
    prop_assert_eq!(&plan.blocked, &Vec::<String>::new());
    prop_assert!(plan.steps.len() < 100, "{:?}", plan);
    let ids = ["app-billing", "app-billing-reader", "app-search", "app-board"];
    let ours = |id: &str| ids.contains(&id);
    let could: BTreeSet<String> = usable(start).into_iter().map(|(id, _)| id).collect();
    let mut now = start.clone();
    for step in &plan.steps {
        let before = now.clone();
        now = now.after(step, &declared.desired);
        // Who could log in and is declared still can, until it is switched off by its own declaration.
        for id in could.iter().filter(|id| ours(id)) {
            prop_assert!(
                usable(&now).iter().any(|(user, _)| user == id),
                "{} cannot log in any more after {}",
                id,
                step
            );
        }
        // Passwords and IAM are never taken away.
        for id in ids {
            let (was, is) = (before.users.get(id), now.users.get(id));
            if let (Some(was), Some(is)) = (was, is)
                && was.authentication != is.authentication
            {
                let adds = was.authentication == Authentication::NoPassword
                    || (was.authentication.clone(), is.authentication.clone())
                        == (Authentication::Password(1), Authentication::Password(2));
                prop_assert!(adds, "{}: {} after {}", id, is.authentication, step);
            }
        }
        if let Some(group) = &now.group {
            let mut names = group
                .users
                .iter()
                .filter_map(|id| now.users.get(id))
                .map(|user| user.name.as_str());
            prop_assert!(
                group.engine != "redis" || names.any(|name| name == "default"),
                "no default after {}",
                step
            );
            prop_assert!(group.users.len() <= 100);
            prop_assert!(
                group.users.iter().all(|id| now.users.contains_key(id)),
                "{}",
                step
            );
        }
        match step {
            Step::AddToGroup { users } | Step::CreateGroup { users } => {
                for id in users {
                    let added = &before.users[id];
                    let wanted = &settled(declared).users[id].access;
                    prop_assert_eq!(Access::read(&added.access), Access::read(wanted));
                    prop_assert!(added.status.is_active(), "{} is added while {}", id, added.status);
                }
            }
            Step::DeleteUser { id } => prop_assert!(!is_member(&before, id) && !ours(id), "{}", step),
            Step::RemoveFromGroup { users } => {
                prop_assert!(ids.iter().all(|id| is_member(&before, id)), "{}", step);
                prop_assert!(!users.iter().any(|id| ours(id)), "{}", step);
            }
            _ => {}
        }
        // Who is not ours is not touched.
        for id in ["stranger", "default", "app-elsewhere"] {
            let untouched = |state: &State| {
                state.users.get(id).map(|user| {
                    (
                        user.access.clone(),
                        user.authentication.clone(),
                        is_member(state, id),
                    )
                })
            };
            prop_assert_eq!(untouched(&now), untouched(start), "{}", step);
        }
        // A run that ends here is finished by the next one.
        let rest = declared.plan(&now);
        prop_assert_eq!(rest.blocked, Vec::<String>::new());
        let end = rest
            .steps
            .iter()
            .fold(now.clone(), |state, step| state.after(step, &declared.desired));
        prop_assert!(declared.plan(&end).steps.is_empty());
    }
    prop_assert!(declared.plan(&now).steps.is_empty(), "{:?}", declared.plan(&now));
    let differences = verify(&declared.desired, &now).1;
    prop_assert!(
        differences.iter().all(|one| one.what == "login"),
        "{:?}",
        differences
    );
    prop_assert!(now.users.values().all(|user| !user.name.starts_with("app-ol")
        || user.status == Status::Deleting
        || user.groups == ["other-group"]));
    Ok(())
}

proptest! {
    #[test]
    fn every_way_to_the_declared_state_of_valkey_locks_no_one_out(start in any_state("valkey")) {
        holds(&Declared::of("valkey").unwrap(), &start)?;
    }

    #[test]
    fn every_way_to_the_declared_state_of_redis_locks_no_one_out(start in any_state("redis")) {
        holds(&Declared::of("redis").unwrap(), &start)?;
    }
}
