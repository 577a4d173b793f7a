"""Who does which command of a loaded window: generation, forwards or embeddings."""

import psutil

from app.core.engine.messages import (
    Cancel,
    Command,
    Embed,
    EndSequence,
    Forward,
    Generate,
    Load,
    ModelInfo,
    Ping,
    Pong,
    SetThreads,
    Tokenize,
    Tokens,
)
from app.core.engine.worker.cache import PrefixCache
from app.core.engine.worker.embeddings import Embedder
from app.core.engine.worker.generation import Generator
from app.core.engine.worker.link import Link
from app.core.engine.worker.loading import Runtime
from app.core.engine.worker.prompts import Prompter
from app.core.engine.worker.slices import Forwarder
from app.core.kernel.errors import InvalidRequest, Unsupported


class Desk:
    """One loaded window at work."""

    def __init__(self, runtime: Runtime, *, link: Link) -> None:
        self._runtime = runtime
        self._link = link
        self._load = runtime.load
        self._process = psutil.Process()
        self._threads = runtime.load.threads
        self._prompter = Prompter(runtime.model)
        self._generator: Generator | None = None
        self._forwarder: Forwarder | None = None
        self._embedder: Embedder | None = None
        self._cache: PrefixCache | None = None
        self._open()

    def _open(self) -> None:
        runtime, window = self._runtime, self._load.window
        if window.whole:
            self._embedder = Embedder(
                model=runtime.model, prompter=self._prompter, load=self._load, link=self._link
            )
        context = runtime.context
        if context is None:
            return
        if not window.whole:
            self._forwarder = Forwarder(
                model=runtime.model,
                context=context,
                capture=runtime.capture,
                load=self._load,
                link=self._link,
            )
            return
        self._cache = PrefixCache(
            context,
            limit=self._load.prefix_cache_bytes,
            exact=window.exact_rollback and not runtime.model.n_swa and not runtime.model.recurrent,
        )
        self._generator = Generator(
            model=runtime.model, context=context, cache=self._cache, load=self._load, link=self._link
        )

    @property
    def _workers(self) -> list[Generator | Forwarder | Embedder]:
        return [part for part in (self._generator, self._forwarder, self._embedder) if part is not None]

    @property
    def busy(self) -> bool:
        return any(part.busy for part in self._workers)

    def idle_wait(self) -> float | None:
        """How long the loop may sleep when there is nothing to do; None for ever."""
        return self._embedder.idle_wait() if self._embedder else None

    def work(self) -> None:
        """One tick of everything that has work."""
        for part in self._workers:
            if part.busy:
                part.tick()
        if self._embedder and not self.busy:
            self._embedder.free_if_idle()

    def handle(self, command: Command, payload: bytearray) -> None:
        """Raises SwarmErrors for what cannot be done; the caller answers them."""
        match command:
            case Generate():
                self._need_generator().submit(
                    self._prompter.task(command, context_tokens=self._load.context_tokens)
                )
            case Forward():
                self._need_forwarder().submit(command, payload)
            case EndSequence():
                self._need_forwarder().end(command.sequence)
            case Embed():
                self._need_embedder().submit(command)
            case Cancel():
                for part in self._workers:
                    part.cancel(command.request)
            case Tokenize():
                tokens = self._prompter.render(command.prompt).tokens
                self._link.put(Tokens(request=command.request, tokens=tuple(tokens.tolist())))
            case SetThreads():
                self._set_threads(command)
            case Ping():
                self._link.put(self._pong(command.request))
            case Load():
                raise InvalidRequest("This worker has its model already.")

    def _need_generator(self) -> Generator:
        if self._generator is None:
            raise Unsupported("This worker holds no whole model that generates text.")
        return self._generator

    def _need_forwarder(self) -> Forwarder:
        if self._forwarder is None:
            raise Unsupported("This worker holds a whole model; forwards are for slices.")
        return self._forwarder

    def _need_embedder(self) -> Embedder:
        if self._embedder is None:
            raise Unsupported("A slice of a model makes no embeddings.")
        return self._embedder

    def _set_threads(self, command: SetThreads) -> None:
        decode, prefill = max(1, command.decode), max(1, command.prefill)
        if self._runtime.context:
            self._runtime.context.set_threads(decode=decode, prefill=prefill)
        if self._embedder:
            self._embedder.set_threads(prefill)

    def _pong(self, request: int) -> Pong:
        return Pong(
            request=request,
            busy_slots=self._generator.busy_slots if self._generator else 0,
            waiting=self._generator.waiting if self._generator else 0,
            sequences=self._forwarder.sequences if self._forwarder else 0,
            cache_entries=len(self._cache) if self._cache else 0,
            cache_bytes=self._cache.bytes if self._cache else 0,
            resident_bytes=self._process.memory_info().rss,
        )

    def info(self) -> ModelInfo:
        model = self._runtime.model
        return ModelInfo(
            name=model.meta("general.name"),
            architecture=model.meta("general.architecture"),
            n_vocab=model.n_vocab,
            n_embd=model.n_embd,
            n_layers=model.n_layers,
            n_params=model.n_params,
            size_bytes=model.size_bytes,
            trained_context=model.trained_context,
            chat_template=self._prompter.template,
            bos_token=self._prompter.bos_token,
            eos_token=self._prompter.eos_token,
            gpu_layers=self._runtime.gpu_layers,
            context_tokens=self._load.context_tokens,
            slots=self._load.slots,
            memory_bytes=self._runtime.memory_bytes,
            pooling=self._embedder.pooling if self._embedder else None,
            threads=self._load.threads,
        )
