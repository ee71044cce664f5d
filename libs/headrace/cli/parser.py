"""What the command line takes."""

import argparse
from collections.abc import Callable, Iterable
from typing import Any, Final

from headrace.cli import gc, moving, resources, server, sync, tail, trackers

Run = Callable[[argparse.Namespace], int]
Argument = tuple[tuple[str, ...], dict[str, Any]]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {number}")
    return number


_LIMIT: Final[Argument] = (("--limit",), {"type": _positive, "default": 100, "metavar": "N", "help": "at most so many"})
_ORDER: Final[Argument] = (
    ("--order-by",),
    {"action": "append", "default": [], "metavar": "ORDER", "help": 'such as "metrics.accuracy DESC"; may be repeated'},
)
_OWNER: Final[Argument] = (("owner",), {"metavar": "RUN_OR_MODEL_ID"})


def make_parser() -> argparse.ArgumentParser:
    """The whole command line; `args.run(args)` does what it says."""
    parser = argparse.ArgumentParser(prog="headrace", description="Starts a Headrace, and looks at what is in one.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    _add_server(commands)
    _add_resources(commands)
    _add_tokens(commands)
    _add_workspaces(commands)
    events = _group(commands, "events", "facts as they happen")
    _asking(
        events,
        "tail",
        tail.tail,
        "print events as they happen, until interrupted",
        (("--type",), {"action": "append", "default": [], "help": "such as ModelVersionPromoted; may be repeated"}),
        (("--subject-prefix",), {"default": "", "metavar": "PREFIX", "help": "only events whose subject begins so"}),
        (("--from-earliest",), {"action": "store_true", "help": "begin with the oldest event that is kept"}),
        (("--cursor",), {"default": "", "help": "go on behind the event that was printed with it by --json"}),
    )
    _asking(
        commands,
        "sync",
        sync.sync,
        "send what programs left in the spool because no server answered: points, ends of runs, whole offline runs",
        (("--spool",), {"default": "", "metavar": "DIR", "help": "HEADRACE_SPOOL, or ~/.local/state/headrace/spool"}),
        (
            ("--patience",),
            {"type": float, "default": 30.0, "metavar": "S", "help": "give a file up after so long (%(default)s)"},
        ),
    )
    _add_gc(commands)
    _add_moving(commands)
    version = commands.add_parser("version", help="print the version of this client")
    version.set_defaults(run=server.version)
    return parser


def _add_gc(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    _asking(
        commands,
        "gc",
        gc.collect,
        "remove for good what has been in the bin for a while: nothing brings it back; for admins",
        (
            ("--older-than",),
            {"type": gc.age, "required": True, "metavar": "AGE", "help": "such as 30d or 12h; 0d: all"},
        ),
        (
            ("--experiment",),
            {"action": "append", "default": [], "metavar": "NAME_OR_ID", "help": "only there; may be repeated"},
        ),
        (
            ("--run",),
            {
                "action": "append",
                "dest": "run_ids",
                "default": [],
                "metavar": "RUN_ID",
                "help": "only it; may be repeated",
            },
        ),
        (("--dry-run",), {"action": "store_true", "help": "only say what would go"}),
    )


_JOBS: Final[Argument] = (
    ("--jobs",),
    {"type": _positive, "default": 4, "metavar": "N", "help": "so many things at a time (%(default)s)"},
)
_MOVING: Final[tuple[Argument, ...]] = (
    (
        ("--experiment",),
        {"action": "append", "default": [], "metavar": "NAME", "help": "only its runs; may be repeated"},
    ),
    (("--no-artifacts",), {"action": "store_true", "help": "leave files out"}),
    _JOBS,
)
_FOLLOWING: Final[tuple[Argument, ...]] = (
    (("--follow",), {"action": "store_true", "help": "go on bringing what is new every few seconds; Ctrl-C ends it"}),
    (
        ("--read-all",),
        {"action": "store_true", "help": "read and compare also what has not changed since the last time"},
    ),
)


def _add_moving(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    brought = _group(commands, "import", "bring what another tracker recorded; for admins")
    _asking(
        brought,
        "mlflow",
        moving.import_mlflow,
        "bring all that an MLflow recorded, with its ids and times; to repeat it brings what is new, and changes nothing else",
        (
            ("source",),
            {"metavar": "SOURCE", "help": "http://host:5000, postgresql://..., sqlite:///mlflow.db or a folder mlruns"},
        ),
        (
            ("--artifacts",),
            {
                "default": "",
                "metavar": "PATH_OR_URI",
                "help": "with a database: what MLflow's proxy serves (--artifacts-destination), or http:// of its server",
            },
        ),
        (("--workspace",), {"default": "default", "metavar": "NAME", "help": "which one (%(default)s)"}),
        *_MOVING,
        *_FOLLOWING,
    )
    _add_trackers(brought)
    taken = _group(commands, "export", "write what is here to another tracker")
    _asking(
        taken,
        "mlflow",
        moving.export_mlflow,
        "write experiments, runs, models and files to an MLflow server; to repeat it writes what is new, and nothing else",
        (("target",), {"metavar": "SERVER", "help": "such as http://host:5000"}),
        *_MOVING,
    )


def _add_trackers(brought: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    path: Argument = (("path",), {"metavar": "PATH"})
    common: tuple[Argument, ...] = (
        (
            ("--experiment",),
            {"default": "", "metavar": "NAME", "help": "where its runs go (as their project is named)"},
        ),
        (("--dry-run",), {"action": "store_true", "help": "only say what would come"}),
        _JOBS,
        _FOLLOWING[0],
    )
    about = "bring the runs that the client of Weights & Biases left on disk: wandb/, or a run's folder in it"
    _asking(brought, "wandb", trackers.import_wandb, about, path, *common)
    about = "bring the runs in a log folder of TensorBoard"
    _asking(brought, "tensorboard", trackers.import_tensorboard, about, path, *common)
    _asking(
        brought,
        "neptune",
        trackers.import_neptune,
        "bring the runs of Neptune in a folder that neptune-exporter wrote",
        path,
        (("--files-path",), {"default": "", "metavar": "DIR", "help": "where its files are (files/ beside the data)"}),
        (
            ("--step-multiplier",),
            {"type": _positive, "default": 1, "metavar": "N", "help": "steps times N, where they have fractions"},
        ),
        *common,
    )


def _add_server(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    up = commands.add_parser("up", help="start everything, on this machine; Ctrl-C stops it")
    up.add_argument("--data-dir", default="~/.headrace", metavar="DIR", help="where all data is kept (%(default)s)")
    up.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    up.add_argument("--http-port", type=int, default=8080, metavar="PORT", help="of the gateway (%(default)s)")
    up.add_argument("--grpc-port", type=int, default=8081, metavar="PORT", help="of the services (%(default)s)")
    up.set_defaults(run=server.up)
    serve = commands.add_parser("serve", help="run some services in this process, with settings from the environment")
    serve.add_argument("services", nargs="+", metavar="SERVICE")
    serve.set_defaults(run=server.serve)
    migrate = commands.add_parser("migrate", help="bring the database up to date")
    migrate.add_argument("--check", action="store_true", help="only say what is missing; exit code 1 if something is")
    migrate.set_defaults(run=server.migrate)
    topics = commands.add_parser("topics", help="make the topics that are missing, and list all")
    topics.set_defaults(run=server.topics)
    _add_dead_letters(commands)
    tenants = _group(commands, "tenants", "who owns things; for whoever runs this Headrace")
    tenant = tenants.add_parser("create", help="make a tenant, and print a token of its first admin")
    tenant.add_argument("tenant", metavar="TENANT", help='lower-case letters, digits and "-"')
    tenant.add_argument("--token-name", default="first admin", metavar="NAME", help="what the token is for")
    tenant.set_defaults(run=server.create_tenant)


def _add_dead_letters(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    letters = _group(commands, "dead-letters", "events and metrics that could not be handled; for whoever runs this")
    listed = letters.add_parser("list", help="list them, with why; settings come from the environment")
    listed.add_argument("topic", nargs="?", default="", metavar="TOPIC", help="only those of one topic")
    listed.add_argument("--json", action="store_true", help="print JSON, for programs")
    listed.set_defaults(run=server.list_dead_letters)
    replay = letters.add_parser("replay", help="send them to their consumers once more, when the cause is mended")
    replay.add_argument("topic", metavar="TOPIC", help="where they failed, as `list` says")
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="all that are kept, the oldest first")
    which.add_argument("--number", type=int, action="append", metavar="N", help="one of them; may be repeated")
    replay.set_defaults(run=server.replay_dead_letters)


def _add_resources(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    experiments = _group(commands, "experiments", "named collections of runs")
    search: Argument = (("--filter",), {"default": "", "help": "such as \"name LIKE 'cookie%%'\""})
    _asking(experiments, "list", resources.list_experiments, "list experiments", search, _ORDER, _LIMIT)
    _asking(experiments, "show", resources.show_experiment, "show one", (("experiment",), {"metavar": "NAME_OR_ID"}))

    runs = _group(commands, "runs", "executions of training code")
    of: Argument = (
        ("--experiment",),
        {"action": "append", "metavar": "NAME_OR_ID", "help": "may be repeated; Default where none is named"},
    )
    search = (("--filter",), {"default": "", "help": "such as \"metrics.accuracy > 0.9 AND params.model = 'tree'\""})
    _asking(runs, "list", resources.list_runs, "list runs", of, search, _ORDER, _LIMIT)
    _asking(runs, "show", resources.show_run, "show one", (("run_id",), {"metavar": "RUN_ID"}))

    output: Argument = (("--output",), {"required": True, "metavar": "FILE", "help": "such as points.parquet"})
    about = "write the points of a run into a Parquet file, for DuckDB, Polars, Spark and the like"
    _asking(runs, "export", resources.export_run, about, (("run_id",), {"metavar": "RUN_ID"}), output)

    models = _group(commands, "models", "registered models")
    _asking(models, "list", resources.list_models, "list models", (("--prefix",), {"default": ""}))
    _asking(models, "show", resources.show_model, "show one with its versions", (("name",), {}))

    deployments = _group(commands, "deployments", "what serves")
    _asking(deployments, "list", resources.list_deployments, "list deployments")
    _asking(deployments, "show", resources.show_deployment, "show one with its history", (("name",), {}))

    artifacts = _group(commands, "artifacts", "files of runs and models")
    folder: Argument = (("folder",), {"nargs": "?", "default": "", "help": "only files below it"})
    _asking(artifacts, "list", resources.list_artifacts, "list files", _OWNER, folder)
    path: Argument = (("path",), {"nargs": "?", "default": "", "help": "a file or a folder; all where none is named"})
    to: Argument = (("--to",), {"default": ".", "metavar": "DIR", "help": "where to put them (here)"})
    _asking(artifacts, "get", resources.get_artifacts, "fetch files", _OWNER, path, to)


def _add_tokens(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    tokens = _group(commands, "tokens", "credentials of this tenant; for admins")
    role: Argument = (
        ("--role",),
        {"choices": ("viewer", "editor", "admin"), "default": "editor", "help": "what it may do (%(default)s)"},
    )
    days: Argument = (("--expires-days",), {"type": float, "metavar": "DAYS", "help": "it does not expire without"})
    _asking(
        tokens, "create", resources.create_token, "make one; only now its secret is shown", (("name",), {}), role, days
    )
    _asking(tokens, "list", resources.list_tokens, "list tokens, without secrets")
    _asking(tokens, "revoke", resources.revoke_token, "end one", (("token_id",), {"metavar": "TOKEN_ID"}))


def _add_workspaces(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    workspaces = _group(commands, "workspaces", "parts of this tenant in which names are apart")
    name: Argument = (("name",), {"help": '2 to 63 lower-case letters, digits and "-"'})
    about: Argument = (("--description",), {"default": "", "metavar": "TEXT", "help": "what it is for"})
    _asking(workspaces, "create", resources.create_workspace, "make one; for admins", name, about)
    _asking(workspaces, "list", resources.list_workspaces, "list workspaces")
    _asking(workspaces, "delete", resources.delete_workspace, "delete an empty one; for admins", name)


def _group(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, about: str
) -> "argparse._SubParsersAction[argparse.ArgumentParser]":
    group = commands.add_parser(name, help=about)
    return group.add_subparsers(required=True, metavar="COMMAND", title="commands")


def _asking(
    group: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, run: Run, about: str, *arguments: Argument
) -> None:
    """A command that asks a Headrace."""
    parser = group.add_parser(name, help=about, description=about)
    common: Iterable[Argument] = (
        (("--uri",), {"default": "", "help": "http://host:port of the gateway (HEADRACE_URI, http://127.0.0.1:8080)"}),
        (("--json",), {"action": "store_true", "help": "print JSON, for programs"}),
    )
    for names, settings in (*arguments, *common):
        parser.add_argument(*names, **settings)
    parser.set_defaults(run=run)
