"""The commands that look at what is in a Headrace."""

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from headrace.cli.output import print_fields, print_json, print_table
from headrace.client import Client


def list_experiments(args: argparse.Namespace) -> int:
    """Active experiments."""
    with Client(args.uri) as client:
        found = client.search_experiments(args.filter, args.order_by, args.limit)
    if args.json:
        print_json(found)
        return 0
    print_table(("id", "name", "created"), [(e.id, e.name, e.create_time) for e in found], "no experiments")
    return 0


def show_experiment(args: argparse.Namespace) -> int:
    """One experiment."""
    with Client(args.uri) as client:
        found = client.get_experiment(args.experiment)
    if args.json:
        print_json(found)
        return 0
    print_fields(
        {
            "id": found.id,
            "name": found.name,
            "deleted": found.deleted,
            "created": found.create_time,
            "updated": found.update_time,
            "tags": found.tags,
        }
    )
    return 0


def list_runs(args: argparse.Namespace) -> int:
    """Active runs of some experiments."""
    with Client(args.uri) as client:
        found = client.search_runs(args.experiment, args.filter, args.order_by, args.limit)
    if args.json:
        print_json(list(found))
        return 0
    print_table(found.columns, found.rows(), "no runs")
    return 0


def show_run(args: argparse.Namespace) -> int:
    """One run with all that is known of it."""
    with Client(args.uri) as client:
        found = client.get_run(args.run_id)
    if args.json:
        print_json(found)
        return 0
    print_fields(
        {
            "run_id": found.run_id,
            "name": found.name,
            "experiment_id": found.experiment_id,
            "state": found.state,
            "user": found.user,
            "deleted": found.deleted,
            "started": found.start_time,
            "ended": found.end_time,
            "params": found.params,
            "metrics": found.metrics,
            "inputs": {each.dataset.name: f"{each.context} {each.dataset.digest}".strip() for each in found.inputs},
            "tags": found.tags,
        }
    )
    return 0


def export_run(args: argparse.Namespace) -> int:
    """Writes the points of a run into a Parquet file; prints where it is."""
    with Client(args.uri) as client:
        place = client.export_metrics(args.run_id, args.output)
    if args.json:
        print_json({"path": str(place)})
    else:
        print(place)
    return 0


def list_models(args: argparse.Namespace) -> int:
    """Registered models."""
    with Client(args.uri) as client:
        found = client.registry.list(args.prefix)
    if args.json:
        print_json(found)
        return 0
    rows = [(m.name, m.latest_version, _aliases(m.aliases), m.update_time) for m in found]
    print_table(("name", "latest", "aliases", "updated"), rows, "no models")
    return 0


def show_model(args: argparse.Namespace) -> int:
    """A model and its versions."""
    with Client(args.uri) as client:
        found = client.registry.get(args.name)
        versions = client.registry.list_versions(args.name)
    if args.json:
        print_json({"model": found, "versions": versions})
        return 0
    print_fields(
        {
            "name": found.name,
            "description": found.description,
            "aliases": _aliases(found.aliases),
            "created": found.create_time,
            "updated": found.update_time,
            "tags": found.tags,
        }
    )
    print()
    rows = [(v.version, v.state, ", ".join(v.aliases), v.model_id, v.run_id, v.create_time) for v in versions]
    print_table(("version", "state", "aliases", "model_id", "run_id", "created"), rows, "no versions")
    return 0


def list_deployments(args: argparse.Namespace) -> int:
    """What serves."""
    with Client(args.uri) as client:
        found = client.deployments.list()
    if args.json:
        print_json(found)
        return 0
    rows = [(d.name, d.state, d.serving_version, d.wanted_version, d.path, d.message) for d in found]
    print_table(("name", "state", "serving", "wanted", "path", "message"), rows, "no deployments")
    return 0


def show_deployment(args: argparse.Namespace) -> int:
    """A deployment, its instances and its history."""
    with Client(args.uri) as client:
        found = client.deployments.get(args.name)
        history = client.deployments.history(args.name)
    if args.json:
        print_json({"deployment": found, "history": history})
        return 0
    print_fields(
        {
            "name": found.name,
            "model": found.model,
            "alias": found.alias,
            "state": found.state,
            "message": found.message,
            "serving": found.serving_version,
            "wanted": found.wanted_version,
            "path": found.path,
            "instances": {each.id: f"version {each.version} {each.state} {each.message}" for each in found.instances},
        }
    )
    print()
    print_table(
        ("time", "version", "what", "message"), [(h.time, h.version, h.what, h.message) for h in history], "no history"
    )
    return 0


def list_artifacts(args: argparse.Namespace) -> int:
    """Files of a run or a model."""
    with Client(args.uri) as client:
        found = client.artifacts.list(args.owner, args.folder)
    if args.json:
        print_json(found)
        return 0
    rows = [(a.path, a.size_bytes, a.media_type, a.create_time) for a in found]
    print_table(("path", "bytes", "type", "stored"), rows, "no files")
    return 0


def get_artifacts(args: argparse.Namespace) -> int:
    """Fetches files; prints where they are."""
    with Client(args.uri) as client:
        place = client.artifacts.download(args.owner, args.path, args.to)
    if args.json:
        print_json({"path": str(place)})
    else:
        print(place)
    return 0


def create_token(args: argparse.Namespace) -> int:
    """Makes a token; prints its secret alone, for scripts to take."""
    expires = None if args.expires_days is None else datetime.now(UTC) + timedelta(days=args.expires_days)
    with Client(args.uri) as client:
        made = client.tokens.create(args.name, args.role, expires)
    if args.json:
        print_json(made)
    else:
        print(made.secret)
    return 0


def list_tokens(args: argparse.Namespace) -> int:
    """Tokens without secrets."""
    with Client(args.uri) as client:
        found = client.tokens.list()
    if args.json:
        print_json(found)
        return 0
    rows = [(t.id, t.name, t.role, t.create_time, t.expire_time, t.revoke_time) for t in found]
    print_table(("token_id", "name", "role", "created", "expires", "revoked"), rows, "no tokens")
    return 0


def revoke_token(args: argparse.Namespace) -> int:
    """Ends a token."""
    with Client(args.uri) as client:
        client.tokens.revoke(args.token_id)
    if args.json:
        print_json({"revoked": args.token_id})
    else:
        print(f"revoked {args.token_id}")
    return 0


def create_workspace(args: argparse.Namespace) -> int:
    """Makes a workspace."""
    with Client(args.uri) as client:
        made = client.workspaces.create(args.name, args.description)
    if args.json:
        print_json(made)
    else:
        print(f"made {made.name}; HEADRACE_WORKSPACE={made.name} works in it")
    return 0


def list_workspaces(args: argparse.Namespace) -> int:
    """Workspaces of the tenant."""
    with Client(args.uri) as client:
        found = client.workspaces.list()
    if args.json:
        print_json(found)
        return 0
    rows = [(w.name, w.description, w.default_artifact_root, w.create_time) for w in found]
    print_table(("name", "description", "artifact_root", "created"), rows, "no workspaces")
    return 0


def delete_workspace(args: argparse.Namespace) -> int:
    """Deletes an empty workspace."""
    with Client(args.uri) as client:
        client.workspaces.delete(args.name)
    if args.json:
        print_json({"deleted": args.name})
    else:
        print(f"deleted {args.name}")
    return 0


def _aliases(aliases: Mapping[str, int]) -> str:
    return ", ".join(f"{alias}={version}" for alias, version in aliases.items())
