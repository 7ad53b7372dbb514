"""Builds the request of an attempt, with its timeouts, and checks its cost."""

from dataclasses import dataclass

from story_service.answer.outline import SCHEMA
from story_service.answer.sentences import count_words
from story_service.assignment import Assignment
from story_service.chat import ChatRequest, ChatTimers, about_tokens
from story_service.errors import cost_limit_reached, cost_unknown
from story_service.models.catalogue import Catalogue
from story_service.passage import scenes_of, words_of
from story_service.prompting.builder import PromptBuilder
from story_service.prompting.length import max_tokens, story_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDefaults:
    """Values for requests that set none: see the settings of the same names. Times in seconds."""

    temperature: float = 0.7
    max_tokens: int | None = None
    first_token_timeout: float = 30.0
    idle_timeout: float = 30.0
    attempt_timeout: float = 1_800.0
    attempt_timeout_per_minute: float = 30.0


class RequestBuilder:
    """Builds a ChatRequest from an assignment."""

    def __init__(self, *, prompts: PromptBuilder, catalogue: Catalogue, settings: RequestDefaults) -> None:
        self._prompts = prompts
        self._catalogue = catalogue
        self._settings = settings

    def request(self, assignment: Assignment, model: str) -> ChatRequest:
        """Returns the request to `model`.

        Raises FAILED_PRECONDITION / COST_LIMIT where, at the catalogue's prices, the call could exceed
        `assignment.max_cost_usd`, or where that limit is set and no price is known: no call is made then.
        """
        # A prefilled answer follows no instruction to end the story, or not to end it yet.
        prefill = (
            bool(assignment.written_so_far)
            and not assignment.scenes
            and not assignment.extended
            and not assignment.passage.lacks_only_ending
            and self._catalogue.accepts_prefill(model)
        )
        messages = self._prompts.messages(assignment, continue_by_prefill=prefill)
        known = self._catalogue.find(model)
        request = ChatRequest(
            model=model,
            messages=messages,
            temperature=self._settings.temperature if assignment.temperature is None else assignment.temperature,
            max_tokens=assignment.max_tokens
            or self._settings.max_tokens
            or max_tokens(
                assignment,
                prompt_characters=sum(len(message.content) for message in messages),
                context_length=known.context_length,
                max_completion_tokens=known.max_completion_tokens,
            ),
            seed=assignment.seed,
            prefill=prefill,
            schema=SCHEMA if assignment.passage.plans else None,
        )
        self._check_cost(assignment, request)
        return request

    def timers(self, assignment: Assignment) -> ChatTimers:
        """Returns the timeouts of the call; the total grows with the length, and gives a model time to think."""
        settings = self._settings
        return ChatTimers(
            first_token=settings.first_token_timeout,
            idle=settings.idle_timeout,
            total=settings.attempt_timeout + settings.attempt_timeout_per_minute * assignment.length_minutes,
        )

    def estimated_cost(self, request: ChatRequest, completion: str) -> float:
        """Returns the approximate cost of the call in US dollars; 0 where no price is known."""
        price = self._catalogue.price_of(request.model)
        return 0.0 if price is None else price.cost(prompt_tokens(request), about_tokens(completion))

    def _check_cost(self, assignment: Assignment, request: ChatRequest) -> None:
        limit = assignment.max_cost_usd
        if limit is None:
            return
        price = self._catalogue.highest_price_of(request.model)
        if price is None:
            raise cost_unknown(request.model)
        prompt = prompt_tokens(request)
        most = price.cost(prompt, request.max_tokens or 0)
        if (calls := later_calls(assignment)) > 0:
            # Half a story that costs all of the limit is of no use.
            words, passage = words_of(assignment.length_minutes), assignment.passage
            rest = words - count_words(assignment.written_so_far) - (0 if passage.plans else passage.left)
            most += price.cost(
                calls * (prompt + story_tokens(assignment, words)), story_tokens(assignment, max(0, rest))
            )
        if assignment.spent_usd + most > limit:
            raise cost_limit_reached(request.model, limit=limit, spent=assignment.spent_usd, most=most)


def later_calls(assignment: Assignment) -> int:
    """Returns how many calls, at least, write the story behind the next one."""
    scenes, scene = assignment.scenes, assignment.passage.scene or 0
    # Behind a first scene that stands alone there are the plan and the scenes that it will have.
    return scenes_of(assignment.length_minutes) - scene if len(scenes) == 1 else len(scenes[scene + 1 :])


def prompt_tokens(request: ChatRequest) -> int:
    """Returns about how many tokens a model reads, rather more than less."""
    return sum(about_tokens(message.content) for message in request.messages)
