"""Let a model call your functions while its answer streams: python stream_with_tools.py [MODEL] [QUESTION]"""

import sys
from typing import Any

from ollama_ext import Client, TextDelta, ToolCallDelta

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def get_weather(city: str) -> str:
    """Pretend to ask a weather service."""
    return f"{city}: 21 degrees, sunny"


def main(model: str = "llama3.2", question: str = "What is the weather in Paris?") -> None:
    """Answer a question, with as many tool calls in between as the model wants."""
    history: list[dict[str, Any]] = [{"role": "user", "content": question}]
    with Client() as ollama:
        for _ in range(5):  # a model may ask for ever
            with ollama.chat_stream(model, history, tools=[WEATHER]) as stream:
                for event in stream:
                    match event:
                        case TextDelta(text=text):
                            print(text, end="", flush=True)
                        case ToolCallDelta(call=call):
                            print(f"[{call.function.name} {call.function.arguments}]")
                        case _:
                            pass
            history.append(stream.reply.message)  # with its calls and their ids
            if not stream.reply.tool_calls:
                break
            for call in stream.reply.tool_calls:
                answer = {"role": "tool", "tool_name": call.function.name}
                if call.id:  # servers before 0.12.10 send none
                    answer["tool_call_id"] = call.id
                history.append({**answer, "content": get_weather(**call.function.arguments)})
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
