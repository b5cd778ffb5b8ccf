"""The words of the toy world: ten languages, the same phrases in each.

Every language is one `Language`. Its blocks are parallel to English, line by
line, group by group (groups are separated by an empty line):

  events    16 groups of 4 clauses: something that happened to some people.
  states    16 groups of 4 clauses: how they are now, because of it.
            Group g of both blocks is one VALUE of a dimension; values 2d and
            2d + 1 of dimension d are opposites (DIMENSIONS and VALUES below).
  requests  10 groups of 4: one intent each (INTENTS below). A request ends
            with a question mark, with '.' when it is a statement (marked in
            English only), otherwise it is a command.

`{s}` is the subject, a group of people in the plural, so that gender and
number agree everywhere. Other names in braces are its other forms (genitive
{g}; Hindi with a postposition {ne} {ko} {ka} {ke} {ki} {mein} {se}) or, in
requests, slots. Form tables hold the subjects in the same order, the pronoun
"they" last.
"""

import dataclasses

DIMENSIONS = (
  'mood',
  'hunger',
  'energy',
  'health',
  'money',
  'cleanliness',
  'place',
  'knowledge',
)

VALUES = (
  *('happy', 'sad'),
  *('full', 'hungry'),
  *('rested', 'tired'),
  *('healthy', 'ill'),
  *('rich', 'poor'),
  *('clean', 'dirty'),
  *('home', 'abroad'),
  *('prepared', 'unprepared'),
)

INTENTS = (
  'timer',
  'weather',
  'music',
  'lights',
  'restaurant',
  'message',
  'call',
  'shopping',
  'travel',
  'news',
)

# The same digits in every language. Multiples of five from 15 and numbers of
# people from 5 need only one plural form in Russian and in Arabic.
NUMBERS = {
  'n': ('15', '20', '25', '30', '35', '40', '45', '50', '55'),
  'k': ('5', '6', '7', '8', '9'),
}


@dataclasses.dataclass(frozen=True)
class Language:
  """One language of the world.

  Attributes:
    code: two letters, as in XNLI.
    iso3: three letters, as in Tatoeba's file names.
    subjects: {form: one string per subject, the pronoun last}.
    times: time phrases for events.
    nows: time phrases for states.
    front: layout of a sentence that opens with its time phrase.
    late: where the time phrase stands otherwise: at the 'end', after the
      'subject', or (German) after the finite 'verb', which a time phrase in
      front also draws before the subject.
    polite: layouts of a request: hello, excuse me, and please (commands only).
    slots: {slot: fillers}, parallel between languages.
    events, states, requests: groups of clauses.
    stop: the full stop.
    space: what stands between sentences.
  """

  code: str
  iso3: str
  subjects: dict[str, tuple[str, ...]]
  times: tuple[str, ...]
  nows: tuple[str, ...]
  front: str
  late: str
  polite: tuple[str, str, str]
  slots: dict[str, tuple[str, ...]]
  events: tuple[tuple[str, ...], ...]
  states: tuple[tuple[str, ...], ...]
  requests: tuple[tuple[str, ...], ...]
  stop: str = '.'
  space: str = ' '


def _list(text: str) -> tuple[str, ...]:
  """'a, b, c' → ('a', 'b', 'c')."""
  return tuple(item.strip() for item in text.split(','))


def _each(pattern: str, text: str) -> tuple[str, ...]:
  """Puts each item of a list into a pattern."""
  return tuple(pattern.format(item) for item in _list(text))


def _groups(text: str) -> tuple[tuple[str, ...], ...]:
  """A block of lines → groups, which empty lines separate."""
  return tuple(
    tuple(line.strip() for line in group.split('\n'))
    for group in text.strip().split('\n\n')
  )


_EN = Language(
  code='en',
  iso3='eng',
  subjects={
    's': _list(
      'the children, the students, the neighbours, the farmers, the workers,'
      'the tourists, the musicians, the players, the guests, the fishermen,'
      'the soldiers, the drivers, they'
    ),
  },
  times=_list(
    'yesterday, today, on Monday, on Friday, on Sunday, recently, this week,'
    'two days ago'
  ),
  nows=_list('now, today, at the moment'),
  front='{t} {c}',
  late='end',
  polite=('hello, {r}', 'excuse me, {r}', '{r}, please'),
  slots={
    'day': _list('today, tomorrow, on Sunday'),
    'in_city': _each(
      'in {}',
      'Paris, London, Berlin, Rome, Madrid, Moscow, Cairo, Istanbul, Delhi,'
      'Beijing',
    ),
    'to_city': _each(
      'to {}',
      'Paris, London, Berlin, Rome, Madrid, Moscow, Cairo, Istanbul, Delhi,'
      'Beijing',
    ),
    'genre': _list('jazz, rock, blues, reggae, tango, flamenco, techno, salsa'),
    'in_room': _each(
      'in the {}',
      'kitchen, bathroom, bedroom, living room, hallway, garage, garden,office',
    ),
    'name': _list('Anna, Maria, David, Daniel, Sara, Adam, Laura, Omar'),
    'item': _list(
      'milk, bread, rice, eggs, coffee, sugar, bananas, tea, cheese, salt'
    ),
    'topic': _list(
      'sport, politics, the economy, science, culture, technology, health,'
      'education'
    ),
  },
  events=_groups("""
    {s} won first prize
    {s} received wonderful news
    {s} met their old friends again
    {s} heard a very funny joke

    {s} lost the final
    {s} received terrible news
    {s} said goodbye to their best friend
    {s} saw a very sad film

    {s} ate a big meal
    {s} ate three plates of soup
    {s} finished the whole cake
    {s} ordered a second dessert

    {s} ate nothing
    {s} missed lunch
    {s} found the fridge empty
    {s} forgot their sandwiches

    {s} slept for ten hours
    {s} took a long nap
    {s} took a long break
    {s} went to bed early

    {s} worked all night
    {s} climbed a high mountain
    {s} carried heavy boxes
    {s} ran twenty kilometres

    {s} recovered from the flu
    {s} left the hospital
    {s} took the right medicine
    {s} overcame the illness

    {s} caught a cold
    {s} had a high fever
    {s} ate poisonous mushrooms
    {s} coughed all day

    {s} won the lottery
    {s} inherited a castle
    {s} sold their company
    {s} found a treasure of gold

    {s} lost their money in the casino
    {s} went bankrupt
    {s} spent their last coins
    {s} lost their jobs

    {s} took a shower
    {s} used a lot of soap
    {s} took a hot bath
    {s} washed their hair

    {s} fell into the mud
    {s} repaired an old engine
    {s} cleaned the chimney
    {s} dug in the garden

    {s} came back from their journey
    {s} opened the door of their house
    {s} took the train home
    {s} drove home

    {s} flew to Canada
    {s} crossed the border
    {s} left the country
    {s} took a ship to Brazil

    {s} read the whole book
    {s} learned all the words
    {s} practised with the teacher
    {s} solved all the exercises

    {s} skipped all the lessons
    {s} lost their notes
    {s} did not open the book
    {s} forgot all the rules
  """),
  states=_groups("""
    {s} are happy
    {s} are in a good mood
    {s} are smiling
    {s} are laughing

    {s} are sad
    {s} are in a bad mood
    {s} are crying
    {s} are very unhappy

    {s} are full
    {s} have a full stomach
    {s} have eaten enough
    {s} are not hungry

    {s} are hungry
    {s} have an empty stomach
    {s} want to eat something
    {s} are looking for food

    {s} are rested
    {s} have a lot of energy
    {s} are wide awake
    {s} are not tired

    {s} are tired
    {s} have no energy left
    {s} want to sleep
    {s} need rest

    {s} are healthy
    {s} are in good health
    {s} do not need a doctor
    {s} are not ill

    {s} are ill
    {s} are in poor health
    {s} need a doctor
    {s} have to stay in bed

    {s} are rich
    {s} have a lot of money
    {s} can buy a big house
    {s} are millionaires

    {s} are poor
    {s} have no money
    {s} cannot pay the rent
    {s} have debts

    {s} are clean
    {s} have clean hands
    {s} smell of soap
    {s} are not dirty

    {s} are dirty
    {s} have dirty hands
    {s} need a bath
    {s} have dirty clothes

    {s} are at home
    {s} are in their living room
    {s} are sitting in their own kitchen
    {s} are in their own house

    {s} are abroad
    {s} are in a foreign country
    {s} are far from home
    {s} are not at home

    {s} are well prepared
    {s} know all the answers
    {s} are ready for the exam
    {s} are not afraid of the exam

    {s} are badly prepared
    {s} do not know any answer
    {s} are afraid of the exam
    {s} are not ready for the exam
  """),
  requests=_groups("""
    wake me up in {n} minutes
    set a timer for {n} minutes
    remind me in {n} minutes
    let the alarm ring in {n} minutes

    what will the weather be like {in_city} {day}?
    will it rain {in_city} {day}?
    how warm will it be {in_city} {day}?
    tell me what the weather will be like {in_city} {day}

    play me some {genre}
    I want to listen to {genre}.
    put on some {genre}
    find a radio station that plays {genre}

    turn on the light {in_room}
    turn off the light {in_room}
    give me more light {in_room}
    it is too dark {in_room}.

    book a table for {k} people {in_city}
    reserve a restaurant {in_city} for {k} people
    we are {k} people and want to have dinner {in_city}.
    find a restaurant {in_city} for {k} people

    send {name} a message
    write to {name} that I am coming later
    write to {name} that everything is fine
    send my photos to {name}

    call {name}
    I want to talk to {name} on the phone.
    dial the number of {name}
    connect me with {name} by phone

    add {item} to the shopping list
    I need {item}.
    put {item} on the list
    write down {item} for the shopping

    book a flight {to_city}
    I need a train ticket {to_city}.
    when does the next bus {to_city} leave?
    how do I get {to_city}?

    read me the news about {topic}
    is there anything new about {topic}?
    show me the headlines about {topic}
    what do the newspapers write about {topic}?
  """),
)


_DE = Language(
  code='de',
  iso3='deu',
  subjects={
    's': _list(
      'die Kinder, die Studenten, die Nachbarn, die Bauern, die Arbeiter,'
      'die Touristen, die Musiker, die Spieler, die Gäste, die Fischer,'
      'die Soldaten, die Fahrer, sie'
    ),
  },
  times=_list(
    'gestern, heute, am Montag, am Freitag, am Sonntag, vor kurzem,'
    'diese Woche, vor zwei Tagen'
  ),
  nows=_list('jetzt, heute, im Moment'),
  front='{t} {c}',
  late='verb',
  polite=('hallo, {r}', 'Entschuldigung, {r}', '{r}, bitte'),
  slots={
    'day': _list('heute, morgen, am Sonntag'),
    'in_city': _each(
      'in {}',
      'Paris, London, Berlin, Rom, Madrid, Moskau, Kairo, Istanbul, Delhi,'
      'Peking',
    ),
    'to_city': _each(
      'nach {}',
      'Paris, London, Berlin, Rom, Madrid, Moskau, Kairo, Istanbul, Delhi,'
      'Peking',
    ),
    'genre': _list('Jazz, Rock, Blues, Reggae, Tango, Flamenco, Techno, Salsa'),
    'in_room': _list(
      'in der Küche, im Bad, im Schlafzimmer, im Wohnzimmer, im Flur,'
      'in der Garage, im Garten, im Büro'
    ),
    'name': _list('Anna, Maria, David, Daniel, Sara, Adam, Laura, Omar'),
    'item': _list(
      'Milch, Brot, Reis, Eier, Kaffee, Zucker, Bananen, Tee, Käse, Salz'
    ),
    'topic': _list(
      'Sport, Politik, Wirtschaft, Wissenschaft, Kultur, Technik, Gesundheit,'
      'Bildung'
    ),
  },
  events=_groups("""
    {s} haben den ersten Preis gewonnen
    {s} haben wunderbare Nachrichten bekommen
    {s} haben ihre alten Freunde wiedergesehen
    {s} haben einen sehr lustigen Witz gehört

    {s} haben das Finale verloren
    {s} haben schreckliche Nachrichten bekommen
    {s} haben von ihrem besten Freund Abschied genommen
    {s} haben einen sehr traurigen Film gesehen

    {s} haben eine große Mahlzeit gegessen
    {s} haben drei Teller Suppe gegessen
    {s} haben den ganzen Kuchen aufgegessen
    {s} haben einen zweiten Nachtisch bestellt

    {s} haben nichts gegessen
    {s} haben das Mittagessen verpasst
    {s} haben den Kühlschrank leer vorgefunden
    {s} haben ihre Brote vergessen

    {s} haben zehn Stunden geschlafen
    {s} haben einen langen Mittagsschlaf gemacht
    {s} haben eine lange Pause gemacht
    {s} sind früh ins Bett gegangen

    {s} haben die ganze Nacht gearbeitet
    {s} haben einen hohen Berg bestiegen
    {s} haben schwere Kisten getragen
    {s} sind zwanzig Kilometer gelaufen

    {s} haben die Grippe überstanden
    {s} haben das Krankenhaus verlassen
    {s} haben die richtige Medizin genommen
    {s} haben die Krankheit besiegt

    {s} haben eine Erkältung bekommen
    {s} hatten hohes Fieber
    {s} haben giftige Pilze gegessen
    {s} haben den ganzen Tag gehustet

    {s} haben im Lotto gewonnen
    {s} haben ein Schloss geerbt
    {s} haben ihre Firma verkauft
    {s} haben einen Goldschatz gefunden

    {s} haben ihr Geld im Kasino verloren
    {s} haben Bankrott gemacht
    {s} haben ihre letzten Münzen ausgegeben
    {s} haben ihre Arbeit verloren

    {s} haben geduscht
    {s} haben viel Seife benutzt
    {s} haben ein heißes Bad genommen
    {s} haben ihre Haare gewaschen

    {s} sind in den Schlamm gefallen
    {s} haben einen alten Motor repariert
    {s} haben den Schornstein gereinigt
    {s} haben im Garten gegraben

    {s} sind von ihrer Reise zurückgekommen
    {s} haben die Tür ihres Hauses geöffnet
    {s} haben den Zug nach Hause genommen
    {s} sind mit dem Auto nach Hause gefahren

    {s} sind nach Kanada geflogen
    {s} haben die Grenze überquert
    {s} haben das Land verlassen
    {s} haben ein Schiff nach Brasilien genommen

    {s} haben das ganze Buch gelesen
    {s} haben alle Wörter gelernt
    {s} haben mit dem Lehrer geübt
    {s} haben alle Aufgaben gelöst

    {s} haben den ganzen Unterricht geschwänzt
    {s} haben ihre Notizen verloren
    {s} haben das Buch nicht geöffnet
    {s} haben alle Regeln vergessen
  """),
  states=_groups("""
    {s} sind glücklich
    {s} haben gute Laune
    {s} lächeln
    {s} lachen

    {s} sind traurig
    {s} haben schlechte Laune
    {s} weinen
    {s} sind sehr unglücklich

    {s} sind satt
    {s} haben einen vollen Magen
    {s} haben genug gegessen
    {s} sind nicht hungrig

    {s} sind hungrig
    {s} haben einen leeren Magen
    {s} wollen etwas essen
    {s} suchen etwas zu essen

    {s} sind ausgeruht
    {s} haben viel Energie
    {s} sind hellwach
    {s} sind nicht müde

    {s} sind müde
    {s} haben keine Energie mehr
    {s} wollen schlafen
    {s} brauchen Ruhe

    {s} sind gesund
    {s} haben eine gute Gesundheit
    {s} brauchen keinen Arzt
    {s} sind nicht krank

    {s} sind krank
    {s} haben eine schlechte Gesundheit
    {s} brauchen einen Arzt
    {s} müssen im Bett bleiben

    {s} sind reich
    {s} haben viel Geld
    {s} können ein großes Haus kaufen
    {s} sind Millionäre

    {s} sind arm
    {s} haben kein Geld
    {s} können die Miete nicht bezahlen
    {s} haben Schulden

    {s} sind sauber
    {s} haben saubere Hände
    {s} riechen nach Seife
    {s} sind nicht schmutzig

    {s} sind schmutzig
    {s} haben schmutzige Hände
    {s} brauchen ein Bad
    {s} haben schmutzige Kleider

    {s} sind zu Hause
    {s} sind in ihrem Wohnzimmer
    {s} sitzen in ihrer eigenen Küche
    {s} sind in ihrem eigenen Haus

    {s} sind im Ausland
    {s} sind in einem fremden Land
    {s} sind weit weg von zu Hause
    {s} sind nicht zu Hause

    {s} sind gut vorbereitet
    {s} kennen alle Antworten
    {s} sind bereit für die Prüfung
    {s} haben keine Angst vor der Prüfung

    {s} sind schlecht vorbereitet
    {s} kennen keine Antwort
    {s} haben Angst vor der Prüfung
    {s} sind nicht bereit für die Prüfung
  """),
  requests=_groups("""
    weck mich in {n} Minuten
    stell einen Timer auf {n} Minuten
    erinnere mich in {n} Minuten
    lass den Wecker in {n} Minuten klingeln

    wie wird das Wetter {day} {in_city}?
    wird es {day} {in_city} regnen?
    wie warm wird es {day} {in_city}?
    sag mir, wie das Wetter {day} {in_city} wird

    spiel mir etwas {genre}
    ich möchte {genre} hören
    mach etwas {genre} an
    such einen Radiosender, der {genre} spielt

    mach das Licht {in_room} an
    mach das Licht {in_room} aus
    gib mir mehr Licht {in_room}
    {in_room} ist es zu dunkel

    bestell einen Tisch für {k} Personen {in_city}
    reserviere ein Restaurant {in_city} für {k} Personen
    wir sind {k} Personen und möchten {in_city} zu Abend essen
    such ein Restaurant {in_city} für {k} Personen

    schick {name} eine Nachricht
    schreib {name}, dass ich später komme
    schreib {name}, dass alles in Ordnung ist
    schick meine Fotos an {name}

    ruf {name} an
    ich möchte mit {name} telefonieren
    wähl die Nummer von {name}
    verbinde mich telefonisch mit {name}

    setz {item} auf die Einkaufsliste
    ich brauche {item}
    schreib {item} auf die Liste
    notiere {item} für den Einkauf

    buch einen Flug {to_city}
    ich brauche eine Zugfahrkarte {to_city}
    wann fährt der nächste Bus {to_city}?
    wie komme ich {to_city}?

    lies mir die Nachrichten über {topic} vor
    gibt es etwas Neues über {topic}?
    zeig mir die Schlagzeilen über {topic}
    was schreiben die Zeitungen über {topic}?
  """),
)


_ES = Language(
  code='es',
  iso3='spa',
  subjects={
    's': _list(
      'los niños, los estudiantes, los vecinos, los campesinos, los obreros,'
      'los turistas, los músicos, los jugadores, los invitados,'
      'los pescadores, los soldados, los conductores, ellos'
    ),
  },
  times=_list(
    'ayer, hoy, el lunes, el viernes, el domingo, hace poco, esta semana,'
    'hace dos días'
  ),
  nows=_list('ahora, hoy, en este momento'),
  front='{t} {c}',
  late='end',
  polite=('hola, {r}', 'perdona, {r}', '{r}, por favor'),
  slots={
    'day': _list('hoy, mañana, el domingo'),
    'in_city': _each(
      'en {}',
      'París, Londres, Berlín, Roma, Madrid, Moscú, El Cairo, Estambul,'
      'Delhi, Pekín',
    ),
    'to_city': _each(
      'a {}',
      'París, Londres, Berlín, Roma, Madrid, Moscú, El Cairo, Estambul,'
      'Delhi, Pekín',
    ),
    'genre': _list('jazz, rock, blues, reggae, tango, flamenco, techno, salsa'),
    'in_room': _list(
      'en la cocina, en el baño, en el dormitorio, en el salón,'
      'en el pasillo, en el garaje, en el jardín, en la oficina'
    ),
    'name': _list('Anna, Maria, David, Daniel, Sara, Adam, Laura, Omar'),
    'item': _list(
      'leche, pan, arroz, huevos, café, azúcar, plátanos, té, queso, sal'
    ),
    'topic': _list(
      'deportes, política, economía, ciencia, cultura, tecnología, salud,'
      'educación'
    ),
  },
  events=_groups("""
    {s} ganaron el primer premio
    {s} recibieron noticias maravillosas
    {s} volvieron a ver a sus viejos amigos
    {s} oyeron un chiste muy gracioso

    {s} perdieron la final
    {s} recibieron noticias terribles
    {s} se despidieron de su mejor amigo
    {s} vieron una película muy triste

    {s} tomaron una comida abundante
    {s} comieron tres platos de sopa
    {s} terminaron todo el pastel
    {s} pidieron un segundo postre

    {s} no comieron nada
    {s} se perdieron el almuerzo
    {s} encontraron la nevera vacía
    {s} olvidaron sus bocadillos

    {s} durmieron diez horas
    {s} durmieron una larga siesta
    {s} hicieron una larga pausa
    {s} se acostaron temprano

    {s} trabajaron toda la noche
    {s} subieron a una montaña alta
    {s} llevaron cajas pesadas
    {s} corrieron veinte kilómetros

    {s} se recuperaron de la gripe
    {s} salieron del hospital
    {s} tomaron la medicina correcta
    {s} vencieron la enfermedad

    {s} se resfriaron
    {s} tuvieron mucha fiebre
    {s} comieron setas venenosas
    {s} tosieron todo el día

    {s} ganaron la lotería
    {s} heredaron un castillo
    {s} vendieron su empresa
    {s} encontraron un tesoro de oro

    {s} perdieron su dinero en el casino
    {s} quedaron en bancarrota
    {s} gastaron sus últimas monedas
    {s} perdieron su trabajo

    {s} se ducharon
    {s} usaron mucho jabón
    {s} tomaron un baño caliente
    {s} se lavaron el pelo

    {s} cayeron en el barro
    {s} repararon un motor viejo
    {s} limpiaron la chimenea
    {s} cavaron en el jardín

    {s} volvieron de su viaje
    {s} abrieron la puerta de su casa
    {s} tomaron el tren a casa
    {s} fueron a casa en coche

    {s} volaron a Canadá
    {s} cruzaron la frontera
    {s} salieron del país
    {s} tomaron un barco a Brasil

    {s} leyeron todo el libro
    {s} aprendieron todas las palabras
    {s} practicaron con el profesor
    {s} resolvieron todos los ejercicios

    {s} faltaron a todas las clases
    {s} perdieron sus apuntes
    {s} no abrieron el libro
    {s} olvidaron todas las reglas
  """),
  states=_groups("""
    {s} están contentos
    {s} están de buen humor
    {s} están sonriendo
    {s} se están riendo

    {s} están tristes
    {s} están de mal humor
    {s} están llorando
    {s} son muy infelices

    {s} están llenos
    {s} tienen el estómago lleno
    {s} han comido bastante
    {s} no tienen hambre

    {s} tienen hambre
    {s} tienen el estómago vacío
    {s} quieren comer algo
    {s} buscan comida

    {s} están descansados
    {s} tienen mucha energía
    {s} están bien despiertos
    {s} no están cansados

    {s} están cansados
    {s} no tienen energía
    {s} quieren dormir
    {s} necesitan descansar

    {s} están sanos
    {s} tienen buena salud
    {s} no necesitan un médico
    {s} no están enfermos

    {s} están enfermos
    {s} tienen mala salud
    {s} necesitan un médico
    {s} tienen que guardar cama

    {s} son ricos
    {s} tienen mucho dinero
    {s} pueden comprar una casa grande
    {s} son millonarios

    {s} son pobres
    {s} no tienen dinero
    {s} no pueden pagar el alquiler
    {s} tienen deudas

    {s} están limpios
    {s} tienen las manos limpias
    {s} huelen a jabón
    {s} no están sucios

    {s} están sucios
    {s} tienen las manos sucias
    {s} necesitan un baño
    {s} tienen la ropa sucia

    {s} están en casa
    {s} están en su salón
    {s} están sentados en su propia cocina
    {s} están en su propia casa

    {s} están en el extranjero
    {s} están en un país extranjero
    {s} están lejos de casa
    {s} no están en casa

    {s} están bien preparados
    {s} saben todas las respuestas
    {s} están listos para el examen
    {s} no tienen miedo del examen

    {s} están mal preparados
    {s} no saben ninguna respuesta
    {s} tienen miedo del examen
    {s} no están listos para el examen
  """),
  requests=_groups("""
    despiértame en {n} minutos
    pon un temporizador de {n} minutos
    avísame en {n} minutos
    haz sonar la alarma en {n} minutos

    ¿qué tiempo hará {day} {in_city}?
    ¿lloverá {day} {in_city}?
    ¿cuánto calor hará {day} {in_city}?
    dime qué tiempo hará {day} {in_city}

    ponme algo de {genre}
    quiero escuchar {genre}
    pon un poco de {genre}
    busca una emisora que ponga {genre}

    enciende la luz {in_room}
    apaga la luz {in_room}
    dame más luz {in_room}
    está demasiado oscuro {in_room}

    reserva una mesa para {k} personas {in_city}
    reserva un restaurante {in_city} para {k} personas
    somos {k} personas y queremos cenar {in_city}
    busca un restaurante {in_city} para {k} personas

    envía un mensaje a {name}
    escribe a {name} que llego más tarde
    escribe a {name} que todo está bien
    envía mis fotos a {name}

    llama a {name}
    quiero hablar por teléfono con {name}
    marca el número de {name}
    comunícame por teléfono con {name}

    añade {item} a la lista de la compra
    necesito {item}
    pon {item} en la lista
    apunta {item} para la compra

    reserva un vuelo {to_city}
    necesito un billete de tren {to_city}
    ¿cuándo sale el próximo autobús {to_city}?
    ¿cómo llego {to_city}?

    léeme las noticias sobre {topic}
    ¿hay algo nuevo sobre {topic}?
    muéstrame los titulares sobre {topic}
    ¿qué escriben los periódicos sobre {topic}?
  """),
)


_FR = Language(
  code='fr',
  iso3='fra',
  subjects={
    's': _list(
      'les enfants, les étudiants, les voisins, les paysans, les ouvriers,'
      'les touristes, les musiciens, les joueurs, les invités,'
      'les pêcheurs, les soldats, les chauffeurs, ils'
    ),
  },
  times=_list(
    "hier, aujourd'hui, lundi, vendredi, dimanche, récemment, cette semaine,"
    'il y a deux jours'
  ),
  nows=_list("maintenant, aujourd'hui, en ce moment"),
  front='{t}, {c}',
  late='end',
  polite=('bonjour, {r}', 'excuse-moi, {r}', "{r}, s'il te plaît"),
  slots={
    'day': _list("aujourd'hui, demain, dimanche"),
    'in_city': _list(
      'à Paris, à Londres, à Berlin, à Rome, à Madrid, à Moscou, au Caire,'
      'à Istanbul, à Delhi, à Pékin'
    ),
    'to_city': _each(
      'pour {}',
      'Paris, Londres, Berlin, Rome, Madrid, Moscou, Le Caire, Istanbul,'
      'Delhi, Pékin',
    ),
    'genre': _list(
      'du jazz, du rock, du blues, du reggae, du tango, du flamenco,'
      'de la techno, de la salsa'
    ),
    'in_room': _list(
      'dans la cuisine, dans la salle de bain, dans la chambre,'
      'dans le salon, dans le couloir, dans le garage, dans le jardin,'
      'dans le bureau'
    ),
    'name': _list('Anna, Maria, David, Daniel, Sara, Adam, Laura, Omar'),
    'of_name': _list(
      "d'Anna, de Maria, de David, de Daniel, de Sara, d'Adam, de Laura,d'Omar"
    ),
    'item': _list(
      'du lait, du pain, du riz, des œufs, du café, du sucre, des bananes,'
      'du thé, du fromage, du sel'
    ),
    'topic': _list(
      "le sport, la politique, l'économie, la science, la culture,"
      "la technologie, la santé, l'éducation"
    ),
  },
  events=_groups("""
    {s} ont gagné le premier prix
    {s} ont reçu de merveilleuses nouvelles
    {s} ont revu leurs vieux amis
    {s} ont entendu une blague très drôle

    {s} ont perdu la finale
    {s} ont reçu de terribles nouvelles
    {s} ont dit adieu à leur meilleur ami
    {s} ont vu un film très triste

    {s} ont pris un repas copieux
    {s} ont mangé trois assiettes de soupe
    {s} ont fini tout le gâteau
    {s} ont commandé un deuxième dessert

    {s} n'ont rien mangé
    {s} ont manqué le déjeuner
    {s} ont trouvé le frigo vide
    {s} ont oublié leurs sandwichs

    {s} ont dormi dix heures
    {s} ont fait une longue sieste
    {s} ont fait une longue pause
    {s} se sont couchés tôt

    {s} ont travaillé toute la nuit
    {s} ont escaladé une haute montagne
    {s} ont porté de lourdes caisses
    {s} ont couru vingt kilomètres

    {s} ont guéri de la grippe
    {s} ont quitté l'hôpital
    {s} ont pris le bon médicament
    {s} ont vaincu la maladie

    {s} ont attrapé un rhume
    {s} ont eu beaucoup de fièvre
    {s} ont mangé des champignons vénéneux
    {s} ont toussé toute la journée

    {s} ont gagné à la loterie
    {s} ont hérité d'un château
    {s} ont vendu leur entreprise
    {s} ont trouvé un trésor en or

    {s} ont perdu leur argent au casino
    {s} ont fait faillite
    {s} ont dépensé leurs dernières pièces
    {s} ont perdu leur travail

    {s} ont pris une douche
    {s} ont utilisé beaucoup de savon
    {s} ont pris un bain chaud
    {s} se sont lavé les cheveux

    {s} sont tombés dans la boue
    {s} ont réparé un vieux moteur
    {s} ont nettoyé la cheminée
    {s} ont creusé dans le jardin

    {s} sont revenus de leur voyage
    {s} ont ouvert la porte de leur maison
    {s} ont pris le train pour rentrer à la maison
    {s} sont rentrés à la maison en voiture

    {s} ont pris l'avion pour le Canada
    {s} ont traversé la frontière
    {s} ont quitté le pays
    {s} ont pris un bateau pour le Brésil

    {s} ont lu tout le livre
    {s} ont appris tous les mots
    {s} se sont exercés avec le professeur
    {s} ont fait tous les exercices

    {s} ont séché tous les cours
    {s} ont perdu leurs notes
    {s} n'ont pas ouvert le livre
    {s} ont oublié toutes les règles
  """),
  states=_groups("""
    {s} sont heureux
    {s} sont de bonne humeur
    {s} sourient
    {s} rient

    {s} sont tristes
    {s} sont de mauvaise humeur
    {s} pleurent
    {s} sont très malheureux

    {s} sont rassasiés
    {s} ont le ventre plein
    {s} ont assez mangé
    {s} n'ont pas faim

    {s} ont faim
    {s} ont le ventre vide
    {s} veulent manger quelque chose
    {s} cherchent à manger

    {s} sont reposés
    {s} ont beaucoup d'énergie
    {s} sont bien réveillés
    {s} ne sont pas fatigués

    {s} sont fatigués
    {s} n'ont plus d'énergie
    {s} veulent dormir
    {s} ont besoin de repos

    {s} sont bien portants
    {s} sont en bonne santé
    {s} n'ont pas besoin d'un médecin
    {s} ne sont pas malades

    {s} sont malades
    {s} sont en mauvaise santé
    {s} ont besoin d'un médecin
    {s} doivent rester au lit

    {s} sont riches
    {s} ont beaucoup d'argent
    {s} peuvent acheter une grande maison
    {s} sont millionnaires

    {s} sont pauvres
    {s} n'ont pas d'argent
    {s} ne peuvent pas payer le loyer
    {s} ont des dettes

    {s} sont propres
    {s} ont les mains propres
    {s} sentent le savon
    {s} ne sont pas sales

    {s} sont sales
    {s} ont les mains sales
    {s} ont besoin d'un bain
    {s} ont des vêtements sales

    {s} sont à la maison
    {s} sont dans leur salon
    {s} sont assis dans leur propre cuisine
    {s} sont dans leur propre maison

    {s} sont à l'étranger
    {s} sont dans un pays étranger
    {s} sont loin de chez eux
    {s} ne sont pas à la maison

    {s} sont bien préparés
    {s} connaissent toutes les réponses
    {s} sont prêts pour l'examen
    {s} n'ont pas peur de l'examen

    {s} sont mal préparés
    {s} ne connaissent aucune réponse
    {s} ont peur de l'examen
    {s} ne sont pas prêts pour l'examen
  """),
  requests=_groups("""
    réveille-moi dans {n} minutes
    mets un minuteur de {n} minutes
    préviens-moi dans {n} minutes
    fais sonner l'alarme dans {n} minutes

    quel temps fera-t-il {day} {in_city} ?
    va-t-il pleuvoir {day} {in_city} ?
    quelle température fera-t-il {day} {in_city} ?
    dis-moi quel temps il fera {day} {in_city}

    joue-moi {genre}
    je veux écouter {genre}
    mets {genre}
    trouve une radio qui passe {genre}

    allume la lumière {in_room}
    éteins la lumière {in_room}
    donne-moi plus de lumière {in_room}
    il fait trop sombre {in_room}

    réserve une table pour {k} personnes {in_city}
    réserve un restaurant {in_city} pour {k} personnes
    nous sommes {k} personnes et voulons dîner {in_city}
    trouve un restaurant {in_city} pour {k} personnes

    envoie un message à {name}
    écris à {name} que j'arrive plus tard
    écris à {name} que tout va bien
    envoie mes photos à {name}

    appelle {name}
    je veux parler au téléphone avec {name}
    compose le numéro {of_name}
    mets-moi en communication avec {name}

    ajoute {item} à la liste de courses
    il me faut {item}
    mets {item} sur la liste
    note {item} pour les courses

    réserve un vol {to_city}
    il me faut un billet de train {to_city}
    quand part le prochain bus {to_city} ?
    comment aller {in_city} ?

    lis-moi les nouvelles sur {topic}
    y a-t-il du nouveau sur {topic} ?
    montre-moi les titres sur {topic}
    qu'écrivent les journaux sur {topic} ?
  """),
)


_RU = Language(
  code='ru',
  iso3='rus',
  subjects={
    's': _list(
      'дети, студенты, соседи, крестьяне, рабочие, туристы, музыканты,'
      'игроки, гости, рыбаки, солдаты, водители, они'
    ),
    'g': _list(
      'детей, студентов, соседей, крестьян, рабочих, туристов, музыкантов,'
      'игроков, гостей, рыбаков, солдат, водителей, них'
    ),
  },
  times=_list(
    'вчера, сегодня, в понедельник, в пятницу, в воскресенье, недавно,'
    'на этой неделе, два дня назад'
  ),
  nows=_list('сейчас, сегодня, в данный момент'),
  front='{t} {c}',
  late='end',
  polite=('привет, {r}', 'извини, {r}', '{r}, пожалуйста'),
  slots={
    'day': _list('сегодня, завтра, в воскресенье'),
    'in_city': _each(
      'в {}',
      'Париже, Лондоне, Берлине, Риме, Мадриде, Москве, Каире, Стамбуле,'
      'Дели, Пекине',
    ),
    'to_city': _each(
      'в {}',
      'Париж, Лондон, Берлин, Рим, Мадрид, Москву, Каир, Стамбул, Дели,Пекин',
    ),
    'genre': _list('джаз, рок, блюз, регги, танго, фламенко, техно, сальсу'),
    'in_room': _list(
      'на кухне, в ванной, в спальне, в гостиной, в коридоре, в гараже,'
      'в саду, в кабинете'
    ),
    'to_name': _list('Анне, Марии, Давиду, Даниэлю, Саре, Адаму, Лауре, Омару'),
    'with_name': _list(
      'с Анной, с Марией, с Давидом, с Даниэлем, с Сарой, с Адамом,'
      'с Лаурой, с Омаром'
    ),
    'of_name': _list('Анны, Марии, Давида, Даниэля, Сары, Адама, Лауры, Омара'),
    'item': _list(
      'молоко, хлеб, рис, яйца, кофе, сахар, бананы, чай, сыр, соль'
    ),
    'topic': _list(
      'о спорте, о политике, об экономике, о науке, о культуре, о технике,'
      'о здоровье, об образовании'
    ),
  },
  events=_groups("""
    {s} выиграли первый приз
    {s} получили прекрасные новости
    {s} снова встретили старых друзей
    {s} услышали очень смешную шутку

    {s} проиграли финал
    {s} получили ужасные новости
    {s} попрощались с лучшим другом
    {s} посмотрели очень грустный фильм

    {s} съели большой обед
    {s} съели три тарелки супа
    {s} доели весь торт
    {s} заказали второй десерт

    {s} ничего не ели
    {s} пропустили обед
    {s} обнаружили пустой холодильник
    {s} забыли свои бутерброды

    {s} проспали десять часов
    {s} долго спали днём
    {s} сделали долгий перерыв
    {s} рано легли спать

    {s} работали всю ночь
    {s} поднялись на высокую гору
    {s} носили тяжёлые ящики
    {s} пробежали двадцать километров

    {s} вылечились от гриппа
    {s} выписались из больницы
    {s} приняли правильное лекарство
    {s} победили болезнь

    {s} простудились
    {s} лежали с высокой температурой
    {s} съели ядовитые грибы
    {s} кашляли весь день

    {s} выиграли в лотерею
    {s} унаследовали замок
    {s} продали свою фирму
    {s} нашли золотой клад

    {s} проиграли деньги в казино
    {s} обанкротились
    {s} потратили последние монеты
    {s} потеряли работу

    {s} приняли душ
    {s} использовали много мыла
    {s} приняли горячую ванну
    {s} вымыли волосы

    {s} упали в грязь
    {s} починили старый мотор
    {s} почистили дымоход
    {s} копали в саду

    {s} вернулись из путешествия
    {s} открыли дверь своего дома
    {s} приехали домой на поезде
    {s} приехали домой на машине

    {s} улетели в Канаду
    {s} пересекли границу
    {s} покинули страну
    {s} уплыли на корабле в Бразилию

    {s} прочитали всю книгу
    {s} выучили все слова
    {s} занимались с учителем
    {s} решили все задачи

    {s} прогуляли все уроки
    {s} потеряли свои записи
    {s} не открывали книгу
    {s} забыли все правила
  """),
  states=_groups("""
    {s} счастливы
    {s} в хорошем настроении
    {s} улыбаются
    {s} смеются

    {s} грустят
    {s} в плохом настроении
    {s} плачут
    {s} очень несчастны

    {s} сыты
    у {g} полный живот
    {s} наелись
    {s} не голодны

    {s} голодны
    у {g} пустой живот
    {s} хотят что-нибудь съесть
    {s} ищут еду

    {s} отдохнули
    у {g} много сил
    {s} бодры
    {s} не устали

    {s} устали
    у {g} не осталось сил
    {s} хотят спать
    {s} нуждаются в отдыхе

    {s} здоровы
    у {g} хорошее здоровье
    {s} не нуждаются во враче
    {s} не больны

    {s} больны
    у {g} плохое здоровье
    {s} нуждаются во враче
    {s} должны лежать в постели

    {s} богаты
    у {g} много денег
    {s} могут купить большой дом
    {s} являются миллионерами

    {s} бедны
    у {g} нет денег
    {s} не могут заплатить за квартиру
    у {g} долги

    {s} чистые
    у {g} чистые руки
    {s} пахнут мылом
    {s} не грязные

    {s} грязные
    у {g} грязные руки
    {s} должны помыться
    у {g} грязная одежда

    {s} дома
    {s} находятся в своей гостиной
    {s} сидят на своей кухне
    {s} находятся в своём доме

    {s} за границей
    {s} находятся в чужой стране
    {s} находятся далеко от дома
    {s} не дома

    {s} хорошо подготовлены
    {s} знают все ответы
    {s} готовы к экзамену
    {s} не боятся экзамена

    {s} плохо подготовлены
    {s} не знают ни одного ответа
    {s} боятся экзамена
    {s} не готовы к экзамену
  """),
  requests=_groups("""
    разбуди меня через {n} минут
    поставь таймер на {n} минут
    напомни мне через {n} минут
    пусть будильник зазвонит через {n} минут

    какая погода будет {day} {in_city}?
    будет ли {day} дождь {in_city}?
    насколько тепло будет {day} {in_city}?
    скажи, какая погода будет {day} {in_city}

    сыграй мне {genre}
    я хочу послушать {genre}
    включи {genre}
    найди радио, где играют {genre}

    включи свет {in_room}
    выключи свет {in_room}
    добавь мне света {in_room}
    {in_room} слишком темно

    закажи столик на {k} человек {in_city}
    забронируй ресторан {in_city} на {k} человек
    нас {k} человек, и мы хотим поужинать {in_city}
    найди ресторан {in_city} на {k} человек

    отправь {to_name} сообщение
    напиши {to_name}, что я приду позже
    напиши {to_name}, что всё хорошо
    отправь мои фотографии {to_name}

    позвони {to_name}
    я хочу поговорить {with_name} по телефону
    набери номер {of_name}
    соедини меня по телефону {with_name}

    добавь {item} в список покупок
    мне нужно купить {item}
    впиши {item} в список
    запиши {item} для покупки

    забронируй рейс {to_city}
    мне нужен билет на поезд {to_city}
    когда отходит следующий автобус {to_city}?
    как мне попасть {to_city}?

    прочитай мне новости {topic}
    есть ли что-нибудь новое {topic}?
    покажи мне заголовки {topic}
    что пишут газеты {topic}?
  """),
)


_ZH = Language(
  code='zh',
  iso3='cmn',
  subjects={
    's': _list(
      '孩子们, 学生们, 邻居们, 农民们, 工人们, 游客们, 音乐家们, 球员们,'
      '客人们, 渔民们, 士兵们, 司机们, 他们'
    ),
  },
  times=_list('昨天, 今天, 星期一, 星期五, 星期天, 最近, 这个星期, 两天前'),
  nows=_list('现在, 今天, 此刻'),
  front='{t}{c}',
  late='subject',
  polite=('你好，{r}', '打扰一下，{r}', '请{r}'),
  slots={
    'day': _list('今天, 明天, 星期天'),
    'city': _list(
      '巴黎, 伦敦, 柏林, 罗马, 马德里, 莫斯科, 开罗, 伊斯坦布尔, 德里, 北京'
    ),
    'genre': _list(
      '爵士乐, 摇滚乐, 蓝调, 雷鬼乐, 探戈, 弗拉门戈, 电子乐, 萨尔萨'
    ),
    'room': _list('厨房, 浴室, 卧室, 客厅, 走廊, 车库, 花园, 办公室'),
    'name': _list('安娜, 玛丽亚, 大卫, 丹尼尔, 萨拉, 亚当, 劳拉, 奥马尔'),
    'item': _list('牛奶, 面包, 大米, 鸡蛋, 咖啡, 糖, 香蕉, 茶, 奶酪, 盐'),
    'topic': _list('体育, 政治, 经济, 科学, 文化, 科技, 健康, 教育'),
  },
  events=_groups("""
    {s}赢得了一等奖
    {s}收到了特别好的消息
    {s}又见到了老朋友
    {s}听了一个很好笑的笑话

    {s}输掉了决赛
    {s}收到了可怕的消息
    {s}告别了最好的朋友
    {s}看了一部很悲伤的电影

    {s}吃了一顿大餐
    {s}喝了三碗汤
    {s}吃完了整个蛋糕
    {s}点了第二份甜点

    {s}什么都没吃
    {s}错过了午饭
    {s}发现冰箱是空的
    {s}忘了带三明治

    {s}睡了十个小时
    {s}睡了一个长长的午觉
    {s}休息了很久
    {s}很早就上床睡觉了

    {s}工作了一整夜
    {s}爬了一座高山
    {s}搬了很重的箱子
    {s}跑了二十公里

    {s}治好了流感
    {s}离开了医院
    {s}吃了对症的药
    {s}战胜了疾病

    {s}得了感冒
    {s}发了高烧
    {s}吃了有毒的蘑菇
    {s}咳嗽了一整天

    {s}中了彩票
    {s}继承了一座城堡
    {s}卖掉了自己的公司
    {s}找到了一批黄金宝藏

    {s}在赌场输光了钱
    {s}破产了
    {s}花光了最后的硬币
    {s}丢了工作

    {s}冲了个澡
    {s}用了很多肥皂
    {s}泡了一个热水澡
    {s}洗了头发

    {s}掉进了泥里
    {s}修理了一台旧发动机
    {s}清扫了烟囱
    {s}在花园里挖了土

    {s}旅行回来了
    {s}打开了自己家的门
    {s}坐火车回了家
    {s}开车回了家

    {s}飞到了加拿大
    {s}越过了边境
    {s}离开了这个国家
    {s}坐船去了巴西

    {s}读完了整本书
    {s}学会了所有的单词
    {s}跟老师一起练习了
    {s}做完了所有的习题

    {s}逃了所有的课
    {s}弄丢了笔记
    {s}没有打开书
    {s}忘记了所有的规则
  """),
  states=_groups("""
    {s}很高兴
    {s}心情很好
    {s}在微笑
    {s}在大笑

    {s}很难过
    {s}心情不好
    {s}在哭
    {s}很伤心

    {s}很饱
    {s}的肚子饱饱的
    {s}已经吃够了
    {s}不饿

    {s}很饿
    {s}的肚子空空的
    {s}想吃点东西
    {s}在找吃的

    {s}休息好了
    {s}精力充沛
    {s}非常清醒
    {s}不累

    {s}很累
    {s}没有精力了
    {s}想睡觉
    {s}需要休息

    {s}很健康
    {s}身体很好
    {s}不需要医生
    {s}没有生病

    {s}生病了
    {s}身体不好
    {s}需要医生
    {s}必须躺在床上

    {s}很富有
    {s}有很多钱
    {s}买得起大房子
    {s}是百万富翁

    {s}很穷
    {s}没有钱
    {s}付不起房租
    {s}欠了债

    {s}很干净
    {s}的手很干净
    {s}身上有肥皂的味道
    {s}不脏

    {s}很脏
    {s}的手很脏
    {s}需要洗澡
    {s}的衣服很脏

    {s}在家
    {s}在自己的客厅里
    {s}坐在自己的厨房里
    {s}在自己的房子里

    {s}在国外
    {s}在一个陌生的国家
    {s}离家很远
    {s}不在家

    {s}准备得很好
    {s}知道所有的答案
    {s}为考试做好了准备
    {s}不害怕考试

    {s}准备得很差
    {s}一个答案也不知道
    {s}害怕考试
    {s}没有为考试做好准备
  """),
  requests=_groups("""
    {n}分钟后叫醒我
    设一个{n}分钟的计时器
    {n}分钟后提醒我
    让闹钟在{n}分钟后响

    {city}{day}天气怎么样？
    {city}{day}会下雨吗？
    {city}{day}会有多暖和？
    告诉我{city}{day}的天气

    给我放一点{genre}
    我想听{genre}
    放一些{genre}
    找一个放{genre}的电台

    打开{room}的灯
    关掉{room}的灯
    把{room}的灯调亮一点
    {room}太暗了

    在{city}订一张{k}个人的桌子
    在{city}为{k}个人预订餐厅
    我们有{k}个人，想在{city}吃晚饭
    在{city}找一家适合{k}个人的餐厅

    给{name}发一条短信
    发短信告诉{name}我晚点到
    发短信告诉{name}一切都好
    把我的照片发给{name}

    给{name}打电话
    我想和{name}通电话
    拨{name}的号码
    帮我接通{name}的电话

    把{item}加到购物清单上
    我需要{item}
    把{item}写在清单上
    记下要买{item}

    订一张去{city}的机票
    我需要一张去{city}的火车票
    去{city}的下一班公共汽车几点开？
    我怎么去{city}？

    给我读{topic}新闻
    {topic}方面有什么新消息吗？
    给我看{topic}方面的头条
    报纸上怎么写{topic}？
  """),
  stop='。',
  space='',
)


_TR = Language(
  code='tr',
  iso3='tur',
  subjects={
    's': _list(
      'çocuklar, öğrenciler, komşular, çiftçiler, işçiler, turistler,'
      'müzisyenler, oyuncular, misafirler, balıkçılar, askerler, şoförler,'
      'onlar'
    ),
    'g': _list(
      'çocukların, öğrencilerin, komşuların, çiftçilerin, işçilerin,'
      'turistlerin, müzisyenlerin, oyuncuların, misafirlerin, balıkçıların,'
      'askerlerin, şoförlerin, onların'
    ),
  },
  times=_list(
    'dün, bugün, pazartesi günü, cuma günü, pazar günü, geçenlerde,'
    'bu hafta, iki gün önce'
  ),
  nows=_list('şimdi, bugün, şu anda'),
  front='{t} {c}',
  late='subject',
  polite=('merhaba, {r}', 'affedersin, {r}', 'lütfen {r}'),
  slots={
    'day': _list('bugün, yarın, pazar günü'),
    'in_city': _list(
      "Paris'te, Londra'da, Berlin'de, Roma'da, Madrid'de, Moskova'da,"
      "Kahire'de, İstanbul'da, Delhi'de, Pekin'de"
    ),
    'to_city': _list(
      "Paris'e, Londra'ya, Berlin'e, Roma'ya, Madrid'e, Moskova'ya,"
      "Kahire'ye, İstanbul'a, Delhi'ye, Pekin'e"
    ),
    'genre': _list('caz, rock, blues, reggae, tango, flamenko, tekno, salsa'),
    'in_room': _list(
      'mutfakta, banyoda, yatak odasında, oturma odasında, koridorda,'
      'garajda, bahçede, ofiste'
    ),
    'name': _list('Anna, Maria, David, Daniel, Sara, Adam, Laura, Omar'),
    'to_name': _list(
      "Anna'ya, Maria'ya, David'e, Daniel'e, Sara'ya, Adam'a, Laura'ya,Omar'a"
    ),
    'acc_name': _list(
      "Anna'yı, Maria'yı, David'i, Daniel'i, Sara'yı, Adam'ı, Laura'yı,Omar'ı"
    ),
    'of_name': _list(
      "Anna'nın, Maria'nın, David'in, Daniel'in, Sara'nın, Adam'ın,"
      "Laura'nın, Omar'ın"
    ),
    'item': _list(
      'süt, ekmek, pirinç, yumurta, kahve, şeker, muz, çay, peynir, tuz'
    ),
    'topic': _list(
      'spor, siyaset, ekonomi, bilim, kültür, teknoloji, sağlık, eğitim'
    ),
  },
  events=_groups("""
    {s} birincilik ödülünü kazandı
    {s} harika haberler aldı
    {s} eski arkadaşlarıyla yeniden görüştü
    {s} çok komik bir fıkra dinledi

    {s} finali kaybetti
    {s} korkunç haberler aldı
    {s} en iyi arkadaşlarına veda etti
    {s} çok üzücü bir film izledi

    {s} bol bol yemek yedi
    {s} üç tabak çorba içti
    {s} bütün pastayı bitirdi
    {s} ikinci bir tatlı ısmarladı

    {s} hiçbir şey yemedi
    {s} öğle yemeğini kaçırdı
    {s} buzdolabını boş buldu
    {s} sandviçlerini unuttu

    {s} on saat uyudu
    {s} uzun bir öğle uykusuna yattı
    {s} uzun bir mola verdi
    {s} erkenden yattı

    {s} bütün gece çalıştı
    {s} yüksek bir dağa tırmandı
    {s} ağır kutular taşıdı
    {s} yirmi kilometre koştu

    {s} gripten kurtuldu
    {s} hastaneden çıktı
    {s} doğru ilacı aldı
    {s} hastalığı yendi

    {s} soğuk algınlığına yakalandı
    {s} yüksek ateşle yattı
    {s} zehirli mantar yedi
    {s} bütün gün öksürdü

    {s} piyangoyu kazandı
    {s} miras olarak bir şato aldı
    {s} şirketlerini sattı
    {s} bir altın hazinesi buldu

    {s} paralarını kumarhanede kaybetti
    {s} iflas etti
    {s} son bozuk paralarını harcadı
    {s} işlerini kaybetti

    {s} duş aldı
    {s} çok sabun kullandı
    {s} sıcak bir banyo yaptı
    {s} saçlarını yıkadı

    {s} çamura düştü
    {s} eski bir motoru tamir etti
    {s} bacayı temizledi
    {s} bahçede toprak kazdı

    {s} yolculuktan döndü
    {s} evlerinin kapısını açtı
    {s} trenle eve döndü
    {s} arabayla eve döndü

    {s} Kanada'ya uçtu
    {s} sınırı geçti
    {s} ülkeden ayrıldı
    {s} gemiyle Brezilya'ya gitti

    {s} bütün kitabı okudu
    {s} bütün kelimeleri öğrendi
    {s} öğretmenle alıştırma yaptı
    {s} bütün alıştırmaları çözdü

    {s} bütün derslerden kaçtı
    {s} notlarını kaybetti
    {s} kitabı açmadı
    {s} bütün kuralları unuttu
  """),
  states=_groups("""
    {s} mutlu
    {g} keyfi yerinde
    {s} gülümsüyor
    {s} gülüyor

    {s} üzgün
    {g} keyfi yok
    {s} ağlıyor
    {s} çok mutsuz

    {s} tok
    {g} midesi dolu
    {s} yeterince yedi
    {s} aç değil

    {s} aç
    {g} midesi boş
    {s} bir şeyler yemek istiyor
    {s} yiyecek arıyor

    {s} dinlenmiş
    {g} çok enerjisi var
    {s} tamamen uyanık
    {s} yorgun değil

    {s} yorgun
    {g} hiç enerjisi kalmadı
    {s} uyumak istiyor
    {g} dinlenmeye ihtiyacı var

    {s} sağlıklı
    {g} sağlığı iyi
    {g} doktora ihtiyacı yok
    {s} hasta değil

    {s} hasta
    {g} sağlığı kötü
    {g} doktora ihtiyacı var
    {s} yatakta kalmak zorunda

    {s} zengin
    {g} çok parası var
    {s} büyük bir ev alabilir
    {s} milyoner

    {s} fakir
    {g} hiç parası yok
    {s} kirayı ödeyemiyor
    {g} borcu var

    {s} temiz
    {g} elleri temiz
    {s} sabun kokuyor
    {s} kirli değil

    {s} kirli
    {g} elleri kirli
    {g} banyoya ihtiyacı var
    {g} kıyafetleri kirli

    {s} evde
    {s} kendi oturma odalarında
    {s} kendi mutfaklarında oturuyor
    {s} kendi evlerinde

    {s} yurt dışında
    {s} yabancı bir ülkede
    {s} evden uzakta
    {s} evde değil

    {s} iyi hazırlanmış
    {s} bütün cevapları biliyor
    {s} sınava hazır
    {s} sınavdan korkmuyor

    {s} kötü hazırlanmış
    {s} hiçbir cevabı bilmiyor
    {s} sınavdan korkuyor
    {s} sınava hazır değil
  """),
  requests=_groups("""
    beni {n} dakika sonra uyandır
    {n} dakikalık bir sayaç kur
    bana {n} dakika sonra hatırlat
    alarmı {n} dakika sonra çaldır

    {day} {in_city} hava nasıl olacak?
    {day} {in_city} yağmur yağacak mı?
    {day} {in_city} hava ne kadar sıcak olacak?
    bana {day} {in_city} havanın nasıl olacağını söyle

    bana biraz {genre} çal
    {genre} dinlemek istiyorum
    biraz {genre} aç
    {genre} çalan bir radyo bul

    {in_room} ışığı aç
    {in_room} ışığı kapat
    {in_room} ışığı artır
    {in_room} her yer çok karanlık

    {in_city} {k} kişilik bir masa ayırt
    {in_city} {k} kişi için bir restoran ayırt
    {k} kişiyiz ve {in_city} akşam yemeği yemek istiyoruz
    {in_city} {k} kişi için bir restoran bul

    {to_name} bir mesaj gönder
    {to_name} geç geleceğimi yaz
    {to_name} her şeyin iyi olduğunu yaz
    fotoğraflarımı {to_name} gönder

    {acc_name} ara
    {name} ile telefonda konuşmak istiyorum
    {of_name} numarasını çevir
    beni telefonla {to_name} bağla

    alışveriş listesine {item} ekle
    bana {item} lazım
    listeye {item} yaz
    alışveriş için {item} not et

    {to_city} bir uçak bileti al
    bana {to_city} bir tren bileti lazım
    {to_city} bir sonraki otobüs ne zaman kalkıyor?
    {to_city} nasıl giderim?

    bana {topic} haberlerini oku
    {topic} hakkında yeni bir şey var mı?
    bana {topic} başlıklarını göster
    gazeteler {topic} hakkında ne yazıyor?
  """),
)


_SW = Language(
  code='sw',
  iso3='swh',
  subjects={
    's': _list(
      'watoto, wanafunzi, majirani, wakulima, wafanyakazi, watalii,'
      'wanamuziki, wachezaji, wageni, wavuvi, askari, madereva, wao'
    ),
  },
  times=_list(
    'jana, leo, siku ya Jumatatu, siku ya Ijumaa, siku ya Jumapili,'
    'hivi karibuni, wiki hii, siku mbili zilizopita'
  ),
  nows=_list('sasa, leo, kwa sasa'),
  front='{t} {c}',
  late='end',
  polite=('hujambo, {r}', 'samahani, {r}', 'tafadhali {r}'),
  slots={
    'day': _list('leo, kesho, Jumapili'),
    'in_city': _each(
      'huko {}',
      'Paris, London, Berlin, Roma, Madrid, Moscow, Kairo, Istanbul, Delhi,'
      'Beijing',
    ),
    'to_city': _each(
      'kwenda {}',
      'Paris, London, Berlin, Roma, Madrid, Moscow, Kairo, Istanbul, Delhi,'
      'Beijing',
    ),
    'genre': _list('jazz, rock, blues, reggae, tango, flamenco, techno, salsa'),
    'in_room': _list(
      'jikoni, bafuni, katika chumba cha kulala, sebuleni,'
      'kwenye korido, kwenye gereji, bustanini, ofisini'
    ),
    'name': _list('Anna, Maria, David, Daniel, Sara, Adam, Laura, Omar'),
    'item': _list(
      'maziwa, mkate, mchele, mayai, kahawa, sukari, ndizi, chai, jibini,chumvi'
    ),
    'topic': _list(
      'michezo, siasa, uchumi, sayansi, utamaduni, teknolojia, afya, elimu'
    ),
  },
  events=_groups("""
    {s} walishinda tuzo ya kwanza
    {s} walipata habari nzuri sana
    {s} walikutana tena na marafiki wao wa zamani
    {s} walisikia mzaha wa kuchekesha sana

    {s} walishindwa katika fainali
    {s} walipata habari mbaya sana
    {s} waliagana na rafiki yao mpendwa
    {s} walitazama filamu ya huzuni sana

    {s} walikula mlo mkubwa
    {s} walikula sahani tatu za supu
    {s} walimaliza keki yote
    {s} waliagiza kitindamlo cha pili

    {s} hawakula chochote
    {s} walikosa chakula cha mchana
    {s} walikuta friji tupu
    {s} walisahau sandwichi zao

    {s} walilala kwa saa kumi
    {s} walilala usingizi mrefu wa mchana
    {s} walipumzika kwa muda mrefu
    {s} walienda kulala mapema

    {s} walifanya kazi usiku kucha
    {s} walipanda mlima mrefu
    {s} walibeba masanduku mazito
    {s} walikimbia kilomita ishirini

    {s} walipona homa ya mafua
    {s} walitoka hospitalini
    {s} walitumia dawa sahihi
    {s} walishinda ugonjwa

    {s} walipata mafua
    {s} walikuwa na homa kali
    {s} walikula uyoga wenye sumu
    {s} walikohoa siku nzima

    {s} walishinda bahati nasibu
    {s} walirithi kasri
    {s} waliuza kampuni yao
    {s} walipata hazina ya dhahabu

    {s} walipoteza pesa zao kwenye kasino
    {s} walifilisika
    {s} walitumia sarafu zao za mwisho
    {s} walipoteza kazi zao

    {s} walioga
    {s} walitumia sabuni nyingi
    {s} walioga kwa maji ya moto
    {s} waliosha nywele zao

    {s} walianguka kwenye matope
    {s} walitengeneza injini ya zamani
    {s} walisafisha bomba la moshi
    {s} walichimba bustanini

    {s} walirudi kutoka safarini
    {s} walifungua mlango wa nyumba yao
    {s} walirudi nyumbani kwa treni
    {s} walirudi nyumbani kwa gari

    {s} walisafiri kwa ndege hadi Kanada
    {s} walivuka mpaka
    {s} waliondoka nchini
    {s} walisafiri kwa meli hadi Brazili

    {s} walisoma kitabu chote
    {s} walijifunza maneno yote
    {s} walifanya mazoezi na mwalimu
    {s} walimaliza mazoezi yote

    {s} walitoroka masomo yote
    {s} walipoteza daftari zao
    {s} hawakufungua kitabu
    {s} walisahau kanuni zote
  """),
  states=_groups("""
    {s} wana furaha
    {s} wamechangamka
    {s} wanatabasamu
    {s} wanacheka

    {s} wana huzuni
    {s} wamenuna
    {s} wanalia
    {s} hawana furaha kabisa

    {s} wameshiba
    {s} wana matumbo yaliyojaa
    {s} wamekula vya kutosha
    {s} hawana njaa

    {s} wana njaa
    {s} wana matumbo matupu
    {s} wanataka kula kitu
    {s} wanatafuta chakula

    {s} wamepumzika
    {s} wana nguvu nyingi
    {s} wako macho kabisa
    {s} hawajachoka

    {s} wamechoka
    {s} hawana nguvu tena
    {s} wanataka kulala
    {s} wanahitaji kupumzika

    {s} ni wazima
    {s} wana afya nzuri
    {s} hawahitaji daktari
    {s} si wagonjwa

    {s} ni wagonjwa
    {s} wana afya mbaya
    {s} wanahitaji daktari
    {s} wanapaswa kubaki kitandani

    {s} ni matajiri
    {s} wana pesa nyingi
    {s} wanaweza kununua nyumba kubwa
    {s} ni mamilionea

    {s} ni maskini
    {s} hawana pesa
    {s} hawawezi kulipa kodi ya nyumba
    {s} wana madeni

    {s} ni safi
    {s} wana mikono safi
    {s} wananukia sabuni
    {s} si wachafu

    {s} ni wachafu
    {s} wana mikono michafu
    {s} wanahitaji kuoga
    {s} wana nguo chafu

    {s} wako nyumbani
    {s} wako sebuleni kwao
    {s} wameketi jikoni kwao
    {s} wako katika nyumba yao

    {s} wako ng'ambo
    {s} wako katika nchi ya kigeni
    {s} wako mbali na nyumbani
    {s} hawako nyumbani

    {s} wamejiandaa vizuri
    {s} wanajua majibu yote
    {s} wako tayari kwa mtihani
    {s} hawaogopi mtihani

    {s} wamejiandaa vibaya
    {s} hawajui jibu lolote
    {s} wanaogopa mtihani
    {s} hawako tayari kwa mtihani
  """),
  requests=_groups("""
    niamshe baada ya dakika {n}
    weka kipima muda cha dakika {n}
    nikumbushe baada ya dakika {n}
    fanya kengele ilie baada ya dakika {n}

    hali ya hewa {in_city} itakuwaje {day}?
    je, mvua itanyesha {in_city} {day}?
    kutakuwa na joto kiasi gani {in_city} {day}?
    niambie hali ya hewa {in_city} itakuwaje {day}

    nipigie muziki wa {genre}
    nataka kusikiliza {genre}
    weka muziki wa {genre}
    tafuta redio inayopiga {genre}

    washa taa {in_room}
    zima taa {in_room}
    niongezee mwanga {in_room}
    kuna giza sana {in_room}

    weka nafasi ya meza ya watu {k} {in_city}
    weka nafasi ya mkahawa {in_city} kwa watu {k}
    tuko watu {k} na tunataka kula chakula cha jioni {in_city}
    tafuta mkahawa {in_city} kwa watu {k}

    mtumie {name} ujumbe
    mwandikie {name} kwamba nitachelewa
    mwandikie {name} kwamba kila kitu ni sawa
    mtumie {name} picha zangu

    mpigie {name} simu
    nataka kuzungumza na {name} kwa simu
    piga nambari ya {name}
    niunganishe na {name} kwa simu

    ongeza {item} kwenye orodha ya manunuzi
    ninahitaji {item}
    weka {item} kwenye orodha
    andika {item} kwa ajili ya manunuzi

    kata tiketi ya ndege {to_city}
    ninahitaji tiketi ya treni {to_city}
    basi lijalo {to_city} linaondoka lini?
    nitafikaje {in_city}?

    nisomee habari kuhusu {topic}
    je, kuna jambo jipya kuhusu {topic}?
    nionyeshe vichwa vya habari kuhusu {topic}
    magazeti yanaandika nini kuhusu {topic}?
  """),
)


_HI_OBLIQUE = (
  'बच्चों, छात्रों, पड़ोसियों, किसानों, मज़दूरों, पर्यटकों, संगीतकारों,'
  'खिलाड़ियों, मेहमानों, मछुआरों, सैनिकों, ड्राइवरों'
)

_HI = Language(
  code='hi',
  iso3='hin',
  subjects={
    's': _list(
      'बच्चे, छात्र, पड़ोसी, किसान, मज़दूर, पर्यटक, संगीतकार, खिलाड़ी, मेहमान,'
      'मछुआरे, सैनिक, ड्राइवर, वे'
    ),
    'ne': (*_each('{} ने', _HI_OBLIQUE), 'उन्होंने'),
    'ko': (*_each('{} को', _HI_OBLIQUE), 'उन्हें'),
    'ka': (*_each('{} का', _HI_OBLIQUE), 'उनका'),
    'ke': (*_each('{} के', _HI_OBLIQUE), 'उनके'),
    'ki': (*_each('{} की', _HI_OBLIQUE), 'उनकी'),
    'mein': (*_each('{} में', _HI_OBLIQUE), 'उनमें'),
    'se': (*_each('{} से', _HI_OBLIQUE), 'उनसे'),
  },
  times=_list(
    'कल, आज, सोमवार को, शुक्रवार को, रविवार को, हाल ही में, इस हफ़्ते,दो दिन पहले'
  ),
  nows=_list('अभी, आज, इस समय'),
  front='{t} {c}',
  late='subject',
  polite=('नमस्ते, {r}', 'माफ़ कीजिए, {r}', 'कृपया {r}'),
  slots={
    'day': _list('आज, कल, रविवार को'),
    'city': _list(
      'पेरिस, लंदन, बर्लिन, रोम, मैड्रिड, मॉस्को, काहिरा, इस्तांबुल, दिल्ली,बीजिंग'
    ),
    'genre': _list('जैज़, रॉक, ब्लूज़, रेगे, टैंगो, फ़्लेमेंको, टेक्नो, साल्सा'),
    'in_room': _list(
      'रसोई में, बाथरूम में, सोने के कमरे में, बैठक में, गलियारे में,गैराज में, बगीचे में, दफ़्तर में'
    ),
    'name': _list('अन्ना, मारिया, डेविड, डैनियल, सारा, एडम, लौरा, उमर'),
    'item': _list('दूध, ब्रेड, चावल, अंडे, कॉफ़ी, चीनी, केले, चाय, पनीर, नमक'),
    'topic': _list(
      'खेल, राजनीति, अर्थव्यवस्था, विज्ञान, संस्कृति, तकनीक, स्वास्थ्य,शिक्षा'
    ),
  },
  events=_groups("""
    {ne} पहला पुरस्कार जीता
    {ko} बहुत अच्छी ख़बर मिली
    {s} अपने पुराने दोस्तों से फिर मिले
    {ne} एक बहुत मज़ेदार चुटकुला सुना

    {s} फ़ाइनल हार गए
    {ko} बहुत बुरी ख़बर मिली
    {ne} अपने सबसे अच्छे दोस्त को अलविदा कहा
    {ne} एक बहुत दुखद फ़िल्म देखी

    {ne} भरपेट खाना खाया
    {ne} तीन कटोरी सूप पिया
    {ne} पूरा केक खा लिया
    {ne} दूसरी मिठाई मँगवाई

    {ne} कुछ नहीं खाया
    {ko} दोपहर का खाना नहीं मिला
    {ne} फ़्रिज ख़ाली पाया
    {s} अपने सैंडविच भूल गए

    {s} दस घंटे सोए
    {ne} दोपहर में लंबी नींद ली
    {ne} लंबा आराम किया
    {s} जल्दी सोने चले गए

    {ne} सारी रात काम किया
    {s} एक ऊँचे पहाड़ पर चढ़े
    {ne} भारी बक्से उठाए
    {s} बीस किलोमीटर दौड़े

    {s} फ़्लू से ठीक हो गए
    {ko} अस्पताल से छुट्टी मिली
    {ne} सही दवा ली
    {ne} बीमारी को हरा दिया

    {ko} ज़ुकाम हो गया
    {ko} तेज़ बुख़ार हुआ
    {ne} ज़हरीले मशरूम खाए
    {s} दिन भर खाँसते रहे

    {ne} लॉटरी जीती
    {ko} विरासत में एक महल मिला
    {ne} अपनी कंपनी बेच दी
    {ko} सोने का ख़ज़ाना मिला

    {s} जुए में अपने पैसे हार गए
    {s} दिवालिया हो गए
    {ne} अपने आख़िरी सिक्के ख़र्च कर दिए
    {ne} अपनी नौकरी खो दी

    {ne} शावर लिया
    {ne} बहुत साबुन लगाया
    {s} गरम पानी से नहाए
    {ne} अपने बाल धोए

    {s} कीचड़ में गिर गए
    {ne} एक पुराना इंजन ठीक किया
    {ne} चिमनी साफ़ की
    {ne} बगीचे में मिट्टी खोदी

    {s} यात्रा से लौट आए
    {ne} अपने घर का दरवाज़ा खोला
    {s} रेलगाड़ी से घर लौटे
    {s} कार से घर लौटे

    {s} हवाई जहाज़ से कनाडा गए
    {ne} सीमा पार की
    {ne} देश छोड़ दिया
    {s} जहाज़ से ब्राज़ील गए

    {ne} पूरी किताब पढ़ी
    {ne} सारे शब्द सीख लिए
    {ne} शिक्षक के साथ अभ्यास किया
    {ne} सारे सवाल हल किए

    {ne} सारी कक्षाएँ छोड़ दीं
    {ne} अपने नोट्स खो दिए
    {ne} किताब नहीं खोली
    {s} सारे नियम भूल गए
  """),
  states=_groups("""
    {s} ख़ुश हैं
    {ka} मिज़ाज अच्छा है
    {s} मुस्कुरा रहे हैं
    {s} हँस रहे हैं

    {s} दुखी हैं
    {ka} मिज़ाज ख़राब है
    {s} रो रहे हैं
    {s} बहुत उदास हैं

    {s} तृप्त हैं
    {ka} पेट भरा है
    {s} काफ़ी खा चुके हैं
    {s} भूखे नहीं हैं

    {s} भूखे हैं
    {ka} पेट ख़ाली है
    {s} कुछ खाना चाहते हैं
    {s} खाना ढूँढ रहे हैं

    {s} आराम कर चुके हैं
    {mein} बहुत ताक़त है
    {s} पूरी तरह जागे हुए हैं
    {s} थके हुए नहीं हैं

    {s} थके हुए हैं
    {mein} ताक़त नहीं बची है
    {s} सोना चाहते हैं
    {ko} आराम की ज़रूरत है

    {s} स्वस्थ हैं
    {ki} सेहत अच्छी है
    {ko} डॉक्टर की ज़रूरत नहीं है
    {s} बीमार नहीं हैं

    {s} बीमार हैं
    {ki} सेहत ख़राब है
    {ko} डॉक्टर की ज़रूरत है
    {ko} बिस्तर पर रहना है

    {s} अमीर हैं
    {ke} पास बहुत पैसा है
    {s} बड़ा घर ख़रीद सकते हैं
    {s} करोड़पति हैं

    {s} ग़रीब हैं
    {ke} पास पैसा नहीं है
    {s} किराया नहीं दे सकते हैं
    {s} क़र्ज़ में हैं

    {s} साफ़ हैं
    {ke} हाथ साफ़ हैं
    {se} साबुन की ख़ुशबू आती है
    {s} गंदे नहीं हैं

    {s} गंदे हैं
    {ke} हाथ गंदे हैं
    {ko} नहाने की ज़रूरत है
    {ke} कपड़े गंदे हैं

    {s} घर पर हैं
    {s} अपनी बैठक में हैं
    {s} अपनी रसोई में बैठे हैं
    {s} अपने मकान में हैं

    {s} विदेश में हैं
    {s} एक पराए देश में हैं
    {s} घर से दूर हैं
    {s} घर पर नहीं हैं

    {ki} तैयारी अच्छी है
    {s} सारे जवाब जानते हैं
    {s} परीक्षा के लिए तैयार हैं
    {s} परीक्षा से नहीं डरते हैं

    {ki} तैयारी ख़राब है
    {s} एक भी जवाब नहीं जानते हैं
    {s} परीक्षा से डरते हैं
    {s} परीक्षा के लिए तैयार नहीं हैं
  """),
  requests=_groups("""
    मुझे {n} मिनट बाद जगाओ
    {n} मिनट का टाइमर लगाओ
    मुझे {n} मिनट बाद याद दिलाओ
    {n} मिनट बाद अलार्म बजाओ

    {day} {city} में मौसम कैसा रहेगा?
    क्या {day} {city} में बारिश होगी?
    {day} {city} में कितनी गर्मी होगी?
    मुझे बताओ कि {day} {city} में मौसम कैसा रहेगा

    मुझे थोड़ा {genre} सुनाओ
    मैं {genre} सुनना चाहता हूँ
    थोड़ा {genre} लगाओ
    {genre} बजाने वाला रेडियो ढूँढो

    {in_room} बत्ती जलाओ
    {in_room} बत्ती बुझाओ
    {in_room} रोशनी बढ़ाओ
    {in_room} बहुत अँधेरा है

    {city} में {k} लोगों के लिए मेज़ बुक करो
    {city} में {k} लोगों के लिए रेस्तराँ बुक करो
    हम {k} लोग हैं और {city} में रात का खाना खाना चाहते हैं
    {city} में {k} लोगों के लिए रेस्तराँ ढूँढो

    {name} को संदेश भेजो
    {name} को लिखो कि मैं देर से आऊँगा
    {name} को लिखो कि सब ठीक है
    मेरी तस्वीरें {name} को भेजो

    {name} को फ़ोन करो
    मैं {name} से फ़ोन पर बात करना चाहता हूँ
    {name} का नंबर मिलाओ
    फ़ोन पर मेरी बात {name} से कराओ

    ख़रीदारी की सूची में {item} जोड़ो
    मुझे {item} चाहिए
    सूची में {item} लिखो
    ख़रीदारी के लिए {item} नोट करो

    {city} के लिए उड़ान बुक करो
    मुझे {city} की ट्रेन का टिकट चाहिए
    {city} की अगली बस कब जाएगी?
    मैं {city} कैसे जाऊँ?

    मुझे {topic} के बारे में ख़बरें पढ़कर सुनाओ
    क्या {topic} के बारे में कुछ नया है?
    मुझे {topic} के बारे में सुर्ख़ियाँ दिखाओ
    अख़बार {topic} के बारे में क्या लिखते हैं?
  """),
  stop='।',
)


_AR = Language(
  code='ar',
  iso3='ara',
  subjects={
    's': _list(
      'الأطفال, الطلاب, الجيران, الفلاحون, العمال, السياح, الموسيقيون,'
      'اللاعبون, الضيوف, الصيادون, الجنود, السائقون, هم'
    ),
  },
  times=_list(
    'أمس, اليوم, يوم الاثنين, يوم الجمعة, يوم الأحد, مؤخرا,'
    'هذا الأسبوع, قبل يومين'
  ),
  nows=_list('الآن, اليوم, في هذه اللحظة'),
  front='{t} {c}',
  late='end',
  polite=('مرحبا، {r}', 'عفوا، {r}', 'من فضلك {r}'),
  slots={
    'day': _list('اليوم, غدا, يوم الأحد'),
    'in_city': _each(
      'في {}',
      'باريس, لندن, برلين, روما, مدريد, موسكو, القاهرة, إسطنبول, دلهي, بكين',
    ),
    'to_city': _each(
      'إلى {}',
      'باريس, لندن, برلين, روما, مدريد, موسكو, القاهرة, إسطنبول, دلهي, بكين',
    ),
    'genre': _list(
      'الجاز, الروك, البلوز, الريغي, التانغو, الفلامنكو, التكنو, السالسا'
    ),
    'in_room': _list(
      'في المطبخ, في الحمام, في غرفة النوم, في غرفة الجلوس, في الممر,'
      'في المرآب, في الحديقة, في المكتب'
    ),
    'name': _list('آنا, ماريا, ديفيد, دانيال, سارة, آدم, لورا, عمر'),
    'item': _list(
      'الحليب, الخبز, الأرز, البيض, القهوة, السكر, الموز, الشاي, الجبن,الملح'
    ),
    'topic': _list(
      'الرياضة, السياسة, الاقتصاد, العلوم, الثقافة, التكنولوجيا, الصحة,التعليم'
    ),
  },
  events=_groups("""
    فاز {s} بالجائزة الأولى
    تلقى {s} أخبارا رائعة
    التقى {s} بأصدقائهم القدامى من جديد
    سمع {s} نكتة مضحكة جدا

    خسر {s} المباراة النهائية
    تلقى {s} أخبارا فظيعة
    ودع {s} أعز أصدقائهم
    شاهد {s} فيلما حزينا جدا

    تناول {s} وجبة كبيرة
    أكل {s} ثلاثة أطباق من الحساء
    أكل {s} الكعكة كلها
    طلب {s} حلوى ثانية

    لم يأكل {s} شيئا
    لم يتناول {s} الغداء
    وجد {s} الثلاجة فارغة
    نسي {s} شطائرهم

    نام {s} عشر ساعات
    أخذ {s} قيلولة طويلة
    أخذ {s} استراحة طويلة
    ذهب {s} إلى السرير مبكرا

    عمل {s} طوال الليل
    تسلق {s} جبلا عاليا
    حمل {s} صناديق ثقيلة
    ركض {s} عشرين كيلومترا

    شفي {s} من الإنفلونزا
    غادر {s} المستشفى
    تناول {s} الدواء الصحيح
    تغلب {s} على المرض

    أصيب {s} بالزكام
    أصيب {s} بحمى شديدة
    أكل {s} فطرا ساما
    سعل {s} طوال اليوم

    ربح {s} اليانصيب
    ورث {s} قصرا
    باع {s} شركتهم
    عثر {s} على كنز من الذهب

    خسر {s} أموالهم في الكازينو
    أفلس {s}
    أنفق {s} آخر نقودهم
    فقد {s} عملهم

    أخذ {s} دشا
    استخدم {s} صابونا كثيرا
    أخذ {s} حماما ساخنا
    غسل {s} شعرهم

    سقط {s} في الوحل
    أصلح {s} محركا قديما
    نظف {s} المدخنة
    حفر {s} في الحديقة

    عاد {s} من رحلتهم
    فتح {s} باب بيتهم
    عاد {s} إلى البيت بالقطار
    عاد {s} إلى البيت بالسيارة

    سافر {s} إلى كندا بالطائرة
    عبر {s} الحدود
    غادر {s} البلاد
    سافر {s} إلى البرازيل بالسفينة

    قرأ {s} الكتاب كله
    تعلم {s} كل الكلمات
    تدرب {s} مع المعلم
    حل {s} كل التمارين

    تغيب {s} عن كل الدروس
    أضاع {s} دفاترهم
    لم يفتح {s} الكتاب
    نسي {s} كل القواعد
  """),
  states=_groups("""
    {s} سعداء
    {s} في مزاج جيد
    {s} يبتسمون
    {s} يضحكون

    {s} حزينون
    {s} في مزاج سيئ
    {s} يبكون
    {s} تعساء جدا

    {s} شبعوا
    {s} بطونهم ممتلئة
    {s} أكلوا ما يكفي
    {s} ليسوا جائعين

    {s} جائعون
    {s} بطونهم فارغة
    {s} يريدون أن يأكلوا شيئا
    {s} يبحثون عن طعام

    {s} مرتاحون
    {s} لديهم طاقة كبيرة
    {s} مستيقظون تماما
    {s} ليسوا متعبين

    {s} متعبون
    {s} ليست لديهم طاقة
    {s} يريدون أن يناموا
    {s} يحتاجون إلى الراحة

    {s} أصحاء
    {s} صحتهم جيدة
    {s} لا يحتاجون إلى طبيب
    {s} ليسوا مرضى

    {s} مرضى
    {s} صحتهم سيئة
    {s} يحتاجون إلى طبيب
    {s} مضطرون إلى البقاء في السرير

    {s} أغنياء
    {s} لديهم مال كثير
    {s} يستطيعون شراء بيت كبير
    {s} من أصحاب الملايين

    {s} فقراء
    {s} ليس لديهم مال
    {s} لا يستطيعون دفع الإيجار
    {s} عليهم ديون

    {s} نظيفون
    {s} أيديهم نظيفة
    {s} تفوح منهم رائحة الصابون
    {s} ليسوا متسخين

    {s} متسخون
    {s} أيديهم متسخة
    {s} يحتاجون إلى حمام
    {s} ملابسهم متسخة

    {s} في البيت
    {s} في غرفة جلوسهم
    {s} يجلسون في مطبخهم
    {s} في بيتهم

    {s} في الخارج
    {s} في بلد أجنبي
    {s} بعيدون عن البيت
    {s} ليسوا في البيت

    {s} مستعدون جيدا
    {s} يعرفون كل الأجوبة
    {s} جاهزون للامتحان
    {s} لا يخافون من الامتحان

    {s} لم يستعدوا جيدا
    {s} لا يعرفون أي جواب
    {s} يخافون من الامتحان
    {s} غير جاهزين للامتحان
  """),
  requests=_groups("""
    أيقظني بعد {n} دقيقة
    اضبط مؤقتا لمدة {n} دقيقة
    ذكرني بعد {n} دقيقة
    اجعل المنبه يرن بعد {n} دقيقة

    كيف سيكون الطقس {in_city} {day}؟
    هل ستمطر {in_city} {day}؟
    كم ستكون درجة الحرارة {in_city} {day}؟
    أخبرني كيف سيكون الطقس {in_city} {day}

    اعزف لي موسيقى {genre}
    أريد أن أستمع إلى {genre}
    شغل بعض موسيقى {genre}
    ابحث عن إذاعة تبث موسيقى {genre}

    أشعل الضوء {in_room}
    أطفئ الضوء {in_room}
    زد الإضاءة {in_room}
    الظلام شديد {in_room}

    احجز طاولة لـ {k} أشخاص {in_city}
    احجز مطعما {in_city} لـ {k} أشخاص
    نحن {k} أشخاص ونريد أن نتعشى {in_city}
    ابحث عن مطعم {in_city} لـ {k} أشخاص

    أرسل رسالة إلى {name}
    اكتب إلى {name} أنني سأتأخر
    اكتب إلى {name} أن كل شيء بخير
    أرسل صوري إلى {name}

    اتصل هاتفيا بـ {name}
    أريد أن أتحدث مع {name} بالهاتف
    اطلب رقم {name}
    صلني هاتفيا بـ {name}

    أضف {item} إلى قائمة التسوق
    أحتاج إلى {item}
    اكتب {item} في القائمة
    سجل {item} للتسوق

    احجز رحلة جوية {to_city}
    أحتاج إلى تذكرة قطار {to_city}
    متى تغادر الحافلة التالية {to_city}؟
    كيف أصل {to_city}؟

    اقرأ لي أخبارا عن {topic}
    هل هناك جديد عن {topic}؟
    أرني عناوين الصحف عن {topic}
    ماذا تكتب الصحف عن {topic}؟
  """),
)

LANGUAGES = {
  language.code: language
  for language in (_EN, _DE, _ES, _FR, _RU, _ZH, _TR, _SW, _HI, _AR)
}
