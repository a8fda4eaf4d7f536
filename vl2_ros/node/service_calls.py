"""The node's services: answer requests, in the transport's own message classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vl2_ros.errors import InputError
from vl2_ros.node.messages.instance_messages import route_name
from vl2_ros.node.request import Answer, Mode, Status
from vl2_ros.node.server import PerceptionServer
from vl2_ros.node.transport import MessageTypes

WATCH, STOP = "vl2_ros/srv/Watch", "vl2_ros/srv/Stop"
LIST_WATCHES, GET_INFO = "vl2_ros/srv/ListWatches", "vl2_ros/srv/GetInfo"
#: Private name and type of each service.
SERVICES = {
    "~/watch": WATCH,
    "~/stop": STOP,
    "~/list_watches": LIST_WATCHES,
    "~/get_info": GET_INFO,
}

ACTION_NAME, ACTION_TYPE = "~/perceive", "vl2_ros/action/Perceive"
INACTIVE = "the node is not active; activate it and ask again"


class ServiceCalls:
    """Answers service requests in every state of the node; every method returns at once.

    Args:
        types: makes the transport's message classes.
        find_server: returns the node; None while there is none.
        version: of this package.
    """

    def __init__(
        self,
        types: MessageTypes,
        find_server: Callable[[], PerceptionServer | None],
        version: str,
    ) -> None:
        self._make = types.make
        self._find_server = find_server
        self._version = version

    def call(self, type_name: str, request: Any) -> Any:
        """Return the response to a request of one of `SERVICES`."""
        answer = {
            WATCH: self.watch,
            STOP: self.stop,
            LIST_WATCHES: self.list_watches,
            GET_INFO: self.get_info,
        }[type_name]
        return answer(request)

    def watch(self, request: Any) -> Any:
        """Start a standing command; a refusal says why."""
        server = self._find_active()
        if server is None:
            return self._make(f"{WATCH}_Response", accepted=False, message=INACTIVE)
        refusals: list[Answer] = []
        is_deciding = True

        def note(answer: Answer) -> None:
            # An answer before the call returns is a refusal, a later one a result. A short
            # watch may have ended by then, which is none.
            if is_deciding and answer.is_final and answer.status is not Status.ENDED:
                refusals.append(answer)

        watch_id = server.submit(request.command, Mode.WATCH, on_answer=note)
        is_deciding = False
        message = refusals[0].message if refusals else ""
        return self._make(f"{WATCH}_Response", accepted=not refusals, id=watch_id, message=message)

    def stop(self, request: Any) -> Any:
        """End the command or watch of an id, or all of them."""
        server = self._find_active()
        if server is None:
            return self._make(f"{STOP}_Response", stopped=0, message=INACTIVE)
        try:
            count = server.cancel(request.id)
        except InputError as error:
            return self._make(f"{STOP}_Response", stopped=0, message=str(error))
        what = f"with the id {request.id!r} " if request.id else ""
        message = "" if count else f"there is nothing to stop: no command {what}is there"
        return self._make(f"{STOP}_Response", stopped=count, message=message)

    def list_watches(self, request: Any) -> Any:
        """List the standing commands; none while the node is not active."""
        server = self._find_active()
        watches = [
            self._make(
                "vl2_ros/msg/WatchInfo",
                id=watch.id,
                text=watch.text,
                camera=watch.camera,
                rate_hz=float(watch.rate_hz),
                remaining_s=float(watch.remaining_s),
                watch_mode=int(watch.watch_mode or 0),
                result_count=watch.result_count,
            )
            for watch in (server.node.list_watches() if server else ())
        ]
        return self._make(f"{LIST_WATCHES}_Response", watches=watches)

    def get_info(self, request: Any) -> Any:
        """Report the model; only the version while no model is loaded."""
        server = self._find_server()
        if server is None:
            return self._make(f"{GET_INFO}_Response", version=self._version)
        info = server.node.info
        return self._make(
            f"{GET_INFO}_Response",
            version=self._version,
            model=info.name,
            model_identity=info.identity,
            backend=info.backend,
            device=info.device,
            routes=[route_name(route) for route in info.routes],
            cameras=list(server.node.parameters.cameras),
        )

    def _find_active(self) -> PerceptionServer | None:
        server = self._find_server()
        return server if server is not None and server.is_active else None
