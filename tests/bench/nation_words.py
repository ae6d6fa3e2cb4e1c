"""Words of a fictitious nation: family and first names, communes and their postcodes, trades, specialties, structures.

Big towns and common names are those of France, with about their weights, since a search must bear them; the long tail
is put together from syllables. Nobody is meant.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from functools import lru_cache

_COMMON = (
    "MARTIN BERNARD THOMAS PETIT ROBERT RICHARD DURAND DUBOIS MOREAU LAURENT SIMON MICHEL LEFÈVRE LEROY ROUX DAVID "
    "BERTRAND MOREL FOURNIER GIRARD BONNET DUPONT LAMBERT FONTAINE ROUSSEAU VINCENT MULLER LEFEBVRE FAURE ANDRÉ "
    "MERCIER BLANC GUÉRIN BOYER GARNIER CHEVALIER FRANÇOIS LEGRAND GAUTHIER GARCIA PERRIN ROBIN CLÉMENT MORIN "
    "NICOLAS HENRY ROUSSEL MATHIEU GAUTIER MASSON MARCHAND DUVAL DENIS DUMONT MARIE LEMAIRE NOËL MEYER DUFOUR "
    "MEUNIER BRUN BLANCHARD GIRAUD JOLY RIVIÈRE LUCAS BRUNET GAILLARD BARBIER ARNAUD MARTÍNEZ GÉRARD ROCHE RENARD "
    "SCHMITT ROY LEROUX COLIN VIDAL CARON PICARD ROGER FABRE AUBERT LEMOINE RENAUD DUMAS LACROIX OLIVIER PHILIPPE "
    "BOURGEOIS PIERRE BENOÎT REY LECLERC PAYET ROLLAND LECLERCQ GUILLAUME LECOMTE LÓPEZ JEAN DUPUY GUILLOT HUBERT "
    "BERGER CARPENTIER SÁNCHEZ DUPUIS MOULIN LOUIS DESCHAMPS HUET VASSEUR PÉREZ BOUCHER FLEURY ROYER KLEIN JACQUET "
    "ADAM PARIS POIRIER MARTY AUBRY GUYOT CARRÉ CHARLES RENAULT CHARPENTIER MÉNARD MAILLARD BARON BERTIN BAILLY "
    "HERVÉ SCHNEIDER FERNÁNDEZ LE_GALL COLLET LÉGER BOUVIER JULIEN PRÉVOST MILLET PERROT DANIEL LE_ROUX COUSIN "
    "GERMAIN BRETON BESSON LANGLOIS RÉMY LE_GOFF PELLETIER LÉVÊQUE PERRIER LEBLANC BARRE LEBRUN MARCHAL WEBER MALLET "
    "HAMON BOULANGER JACOB MONNIER MICHAUD GUICHARD NGUYEN TRAN BEN_AMAR BENSAÏD DIALLO TRAORÉ DA_SILVA FERREIRA "
    "DE_OLIVEIRA EL_AMRANI HADDAD KHELIFI COHEN LÉVY LE_BIHAN LE_CORRE L'HOSTIS D'ARCY D'ALMEIDA DE_LA_TOUR DU_BOIS "
    "DE_SAINT-EXEMPLE VAN_DEN_BERG DELCOURT LEBŒUF"
)
_STEMS = (
    "Bar Bel Ber Bois Bon Bour Cam Car Chan Char Col Cor Cou Dal Dar Del Des Dor Du Fau Fer Fon For Fra Gal Gan Gar "
    "Gau Ger Gour Gran Gui Hau Jac Jou La Lam Lan Lar Le Lou Mal Mar Mau Mer Mon Mor Mou Nau Pel Per Pic Pou Pré "
    "Quin Rau Rem Ri Rol Rou Sal Sau Ser Sou Tal Tar Tou Tri Val Var Ver Vil"
)
_MIDDLES = " a an ban bi bo cha che den di do du fa geo gou la li lo man mé min na nau pa qui ra ri ro sa ti to ver vi"
_ENDS = "ard aud ault eau el elle er et ette ier in ion ot oux y èche ès"
_FIRST = (
    "Marie Jean Nathalie Philippe Isabelle Michel Sylvie Alain Catherine Patrick Martine Nicolas Christine "
    "Christophe Françoise Pierre Valérie Christian Sandrine Éric Stéphanie Frédéric Véronique Laurent Sophie "
    "Stéphane Céline David Chantal Pascal Patricia Julien Anne Daniel Brigitte Thierry Julie Sébastien Monique "
    "Thomas Aurélie Olivier Laurence Alexandre Annie Dominique Émilie Didier Claire Gérard Hélène Bruno Camille "
    "Vincent Caroline Antoine Léa Maxime Élodie Guillaume Corinne Jérôme Virginie Franck Karine Romain Agnès Marc "
    "Delphine Kévin Manon Mathieu Audrey Gilles Sarah Jérémy Pauline Bernard Laura Florian Mélanie Benoît Chloé "
    "Fabrice Lucie François Anaïs Cédric Marine Arnaud Amandine Yves Florence Anthony Emma Clément Inès Hugo "
    "Charlotte Louis Juliette Arthur Margaux Gabriel Océane Raphaël Justine Jules Morgane Lucas Noémie Adam Mathilde "
    "Paul Elsa Victor Solène Quentin Maëlle Baptiste Gaëlle Loïc Ludivine Rémi Séverine Benjamin Nadia Samir Fatima "
    "Karim Yasmina Mehdi Leïla Youssef Samira Mohamed Khadija Ahmed Aïcha Thi Minh Zoé Noël Béatrice Édouard "
    "Geneviève Étienne Joël Odile Régis Thaïs Anne-Sophie Jean-Pierre Marie-Claude Jean-Luc Anne-Marie Jean-François "
    "Marie-Christine Jean-Marc Marie-Pierre Jean-Michel Anne-Laure Jean-Baptiste Marie-Hélène Pierre-Yves "
    "Claire-Marie Paul-Henri Jean-Noël Marie-Thérèse Charles-Édouard Marie-Laure"
)
# Town, postcode without its last digits where it has arrondissements, INSEE code of the first, department, thousands.
_DIVIDED = (
    ("Paris", 75001, 75101, "Paris", 20, 2_100),
    ("Marseille", 13001, 13201, "Bouches-du-Rhône", 16, 870),
    ("Lyon", 69001, 69381, "Rhône", 9, 520),
)
_BIG = (
    "31000 Toulouse 31555 Haute-Garonne 500|06000 Nice 06088 Alpes-Maritimes 340|44000 Nantes 44109 Loire-Atlantique "
    "320|34000 Montpellier 34172 Hérault 300|67000 Strasbourg 67482 Bas-Rhin 290|33000 Bordeaux 33063 Gironde 260|"
    "59000 Lille 59350 Nord 235|35000 Rennes 35238 Ille-et-Vilaine 220|51100 Reims 51454 Marne 180|83000 Toulon "
    "83137 Var 180|42000 Saint-Étienne 42218 Loire 173|76600 Le_Havre 76351 Seine-Maritime 165|38000 Grenoble 38185 "
    "Isère 158|21000 Dijon 21231 Côte-d'Or 158|49000 Angers 49007 Maine-et-Loire 155|69100 Villeurbanne 69266 Rhône "
    "152|97400 Saint-Denis 97411 La_Réunion 150|30000 Nîmes 30189 Gard 148|63000 Clermont-Ferrand 63113 Puy-de-Dôme "
    "147|13100 Aix-en-Provence 13001 Bouches-du-Rhône 145|72000 Le_Mans 72181 Sarthe 143|29200 Brest 29019 Finistère "
    "140|37000 Tours 37261 Indre-et-Loire 137|80000 Amiens 80021 Somme 134|87000 Limoges 87085 Haute-Vienne 130|"
    "74000 Annecy 74010 Haute-Savoie 128|92100 Boulogne-Billancourt 92012 Hauts-de-Seine 120|57000 Metz 57463 "
    "Moselle 118|25000 Besançon 25056 Doubs 117|66000 Perpignan 66136 Pyrénées-Orientales 119|45000 Orléans 45234 "
    "Loiret 116|76000 Rouen 76540 Seine-Maritime 113|93200 Saint-Denis 93066 Seine-Saint-Denis 112|68100 Mulhouse "
    "68224 Haut-Rhin 108|14000 Caen 14118 Calvados 107|54000 Nancy 54395 Meurthe-et-Moselle 104|94240 "
    "L'Haÿ-les-Roses 94038 Val-de-Marne 31|57460 Œting 57521 Moselle 3|20000 Ajaccio 2A004 Corse-du-Sud 71|20200 "
    "Bastia 2B033 Haute-Corse 48|97200 Fort-de-France 97209 Martinique 76"
)
_DEPARTMENTS = (
    "01 Ain|02 Aisne|03 Allier|04 Alpes-de-Haute-Provence|05 Hautes-Alpes|07 Ardèche|08 Ardennes|09 Ariège|10 Aube|"
    "11 Aude|12 Aveyron|15 Cantal|16 Charente|17 Charente-Maritime|18 Cher|19 Corrèze|22 Côtes-d'Armor|23 Creuse|24 "
    "Dordogne|26 Drôme|27 Eure|28 Eure-et-Loir|29 Finistère|32 Gers|36 Indre|39 Jura|40 Landes|41 Loir-et-Cher|43 "
    "Haute-Loire|46 Lot|47 Lot-et-Garonne|48 Lozère|50 Manche|52 Haute-Marne|53 Mayenne|55 Meuse|56 Morbihan|58 "
    "Nièvre|59 Nord|60 Oise|61 Orne|62 Pas-de-Calais|64 Pyrénées-Atlantiques|65 Hautes-Pyrénées|70 Haute-Saône|71 "
    "Saône-et-Loire|73 Savoie|77 Seine-et-Marne|78 Yvelines|79 Deux-Sèvres|81 Tarn|82 Tarn-et-Garonne|84 Vaucluse|85 "
    "Vendée|86 Vienne|88 Vosges|89 Yonne|90 Territoire_de_Belfort|91 Essonne|95 Val-d'Oise"
)
_VILLAGES = (
    "{} {}-le-Château {}-sur-Loire {}-les-Bains Saint-{} Sainte-{} {}-en-Plaine La_{} Le_{} {}ville {}-lès-Exemple"
)
_STREETS = (
    "de la République|du Général de l'Exemple|Victor Modèle|des Écoles|de la Gare|du Moulin|des Lilas|de l'Église|"
    "Pasteur|du 8 Mai 1945|des Essais|Jean Fiction|de Paris|de Verdun|du Château|des Tilleuls|de l'Hôpital|d'Alsace"
)
STREETS = _STREETS.split("|")
STREET_KINDS = (("R", "Rue"), ("AV", "Avenue"), ("BD", "Boulevard"), ("PL", "Place"), ("CHE", "Chemin"))
_PLURALS = (
    "LILAS TILLEULS MARRONNIERS GLYCINES ÉGLANTIERS CHÊNES ACACIAS OLIVIERS PEUPLIERS BRUYÈRES CORDELIERS HALLES "
    "REMPARTS ARCADES FONTAINES VIGNES ALIZÉS MIMOSAS CÈDRES TERRASSES"
)
PLURALS = _PLURALS.split()


@dataclass(frozen=True, slots=True)
class Trade:
    """A profession (TRE_G15): of a hundred professionals, how many; how many of them practise on their own."""

    code: str
    label: str
    share: float
    alone: float
    mailbox: float  # share of its people who have one
    domain: str


TRADES = (
    Trade("60", "Infirmier", 37.0, 0.22, 0.15, "infirmier"),
    Trade("10", "Médecin", 17.0, 0.50, 0.70, "medecin"),
    Trade("35", "Aide-soignant", 9.0, 0.0, 0.02, "soignant"),
    Trade("70", "Masseur-Kinésithérapeute", 7.0, 0.80, 0.44, "masseur-kinesitherapeute"),
    Trade("93", "Psychologue", 6.0, 0.40, 0.10, "psychologue"),
    Trade("21", "Pharmacien", 5.5, 0.0, 0.55, "pharmacien"),
    Trade("40", "Chirurgien-Dentiste", 3.5, 0.90, 0.55, "chirurgien-dentiste"),
    Trade("98", "Manipulateur ERM", 2.8, 0.0, 0.04, "manipulateur"),
    Trade("28", "Opticien-Lunetier", 2.5, 0.2, 0.05, "opticien"),
    Trade("91", "Orthophoniste", 2.0, 0.80, 0.45, "orthophoniste"),
    Trade("50", "Sage-Femme", 1.8, 0.35, 0.60, "sage-femme"),
    Trade("94", "Ergothérapeute", 1.2, 0.15, 0.10, "ergotherapeute"),
    Trade("95", "Diététicien", 1.0, 0.40, 0.12, "dieteticien"),
    Trade("96", "Psychomotricien", 1.0, 0.35, 0.10, "psychomotricien"),
    Trade("80", "Pédicure-Podologue", 1.0, 0.95, 0.40, "pedicure-podologue"),
    Trade("86", "Technicien de laboratoire médical", 0.7, 0.0, 0.02, "technicien"),
    Trade("92", "Orthoptiste", 0.5, 0.60, 0.30, "orthoptiste"),
    Trade("26", "Audioprothésiste", 0.3, 0.4, 0.15, "audioprothesiste"),
    Trade("81", "Orthoprothésiste", 0.1, 0.3, 0.05, "orthoprothesiste"),
)
SPECIALTIES = (
    ("SM54", "Médecine générale", 40.0),
    ("SM26", "Qualifié en médecine générale", 8.0),
    ("SM42", "Psychiatrie", 6.0),
    ("SM02", "Anesthésie-réanimation", 5.0),
    ("SM40", "Pédiatrie", 4.0),
    ("SM44", "Radio-diagnostic", 4.0),
    ("SM04", "Cardiologie et maladies vasculaires", 3.5),
    ("SM38", "Ophtalmologie", 3.0),
    ("SM20", "Gynécologie-obstétrique", 2.6),
    ("SM15", "Dermatologie et vénéréologie", 2.0),
    ("SM24", "Gastro-entérologie et hépatologie", 2.0),
    ("SM41", "Pneumologie", 1.7),
    ("SM39", "Oto-rhino-laryngologie", 1.6),
    ("SM32", "Neurologie", 1.4),
    ("SM48", "Rhumatologie", 1.4),
    ("SM17", "Endocrinologie et métabolisme", 1.2),
    ("SM35", "Néphrologie", 1.0),
    ("SM37", "Oncologie médicale", 0.7),
    ("SM53", "Santé publique et médecine sociale", 0.6),
    ("SM19", "Gynécologie médicale", 0.5),
)


@dataclass(frozen=True, slots=True)
class Structure:
    """A kind of place: its sector (TRE_R02), names, how many work there, whether it has a FINESS, who works there."""

    sector: str
    label: str
    names: tuple[str, ...]
    share: float  # of the structures that are no practice of one person
    people: tuple[int, int]
    trades: str  # codes of TRADES, weighted by their share; empty: all
    mailbox: float
    services: tuple[str, ...] = ("Secrétariat",)


STRUCTURES = (
    Structure(
        "SA33",
        "Pharmacie d'officine",
        (
            "PHARMACIE {name}",
            "PHARMACIE DES {plural}",
            "PHARMACIE DU CENTRE",
            "PHARMACIE DE LA GARE",
            "GRANDE PHARMACIE DE {town}",
        ),
        30,
        (1, 5),
        "21",
        0.9,
        ("Officine",),
    ),
    Structure(
        "SA08",
        "Cabinet de groupe",
        ("CABINET MÉDICAL DES {plural}", "SCM {name}", "CABINET {name} ET ASSOCIÉS", "MAISON DE SANTÉ DES {plural}"),
        40,
        (2, 7),
        "10 60 70 91 40 50 80 93",
        0.15,
    ),
    Structure(
        "SA05",
        "Centre de santé",
        ("CENTRE DE SANTÉ DES {plural}", "CENTRE DE SANTÉ {town}"),
        5,
        (3, 20),
        "10 40 60 70",
        0.6,
    ),
    Structure(
        "SA17",
        "EHPAD",
        ("EHPAD LES {plural}", "RÉSIDENCE {name}"),
        9,
        (6, 45),
        "60 35 10 93 94",
        0.8,
        ("Secrétariat", "Infirmerie"),
    ),
    Structure(
        "SA25",
        "Laboratoire de biologie médicale",
        ("LABORATOIRE DES {plural}", "LABORATOIRE {name}"),
        5,
        (3, 18),
        "21 10 86",
        0.9,
        ("Résultats",),
    ),
    Structure(
        "SA04",
        "Etablissement privé à but lucratif",
        ("CLINIQUE DES {plural}", "POLYCLINIQUE {name}"),
        2.2,
        (30, 350),
        "",
        0.95,
        ("Secrétariat", "Admissions", "Chirurgie", "Imagerie"),
    ),
    Structure(
        "SA01",
        "Etablissement public de santé",
        ("CENTRE HOSPITALIER DE {town}", "HÔPITAL {name}", "CHU DE {town}"),
        1.6,
        (120, 3_200),
        "",
        1.0,
        (
            "Secrétariat",
            "Cardiologie",
            "Urgences",
            "Imagerie",
            "Pédiatrie",
            "Maternité",
            "Oncologie",
            "Pharmacie",
            "Laboratoire",
            "Neurologie",
        ),
    ),
    Structure(
        "SA29", "Centre d'imagerie", ("IMAGERIE DES {plural}", "CENTRE DE RADIOLOGIE {town}"), 2, (4, 25), "10 98", 0.9
    ),
    Structure(
        "SA42", "Magasin d'optique", ("OPTIQUE {name}", "LES OPTICIENS DES {plural}"), 5.2, (1, 5), "28 92", 0.05
    ),
)


@dataclass(frozen=True, slots=True)
class Town:
    name: str
    postcode: str
    code: str
    department: str
    weight: float

    @property
    def area(self) -> str:
        """The department's number: 2A and 2B in Corsica, three digits overseas."""
        return self.code[:3] if self.code.startswith("97") else self.code[:2]


def _tail() -> list[str]:
    """Some thousand words of syllables, in one order."""
    made = ("".join(parts) for parts in itertools.product(_STEMS.split(), _MIDDLES.split(" "), _ENDS.split()))
    words = list(dict.fromkeys(made))
    random.Random(7).shuffle(words)
    return words


@lru_cache(1)
def last_names() -> tuple[list[str], list[float]]:
    """Family names and their cumulated weights, as Zipf has them: about 8,000."""
    chance = random.Random(11)
    names = [name.replace("_", " ") for name in _COMMON.split()]
    common = len(names)
    for word in _tail()[:7_500]:
        dice = chance.random()
        name = word.upper()
        if dice < 0.05:
            name = f"{chance.choice(('LE', 'DE', 'DU', 'DE LA', 'BEN', 'VAN', 'EL'))} {name}"
        elif dice < 0.07:
            name = f"D'A{name}"
        elif dice < 0.12:
            name = f"{chance.choice(names[:common])}-{name}"
        names.append(name)
    names = list(dict.fromkeys(names))
    return names, list(itertools.accumulate((rank + 20) ** -0.75 for rank in range(len(names))))


@lru_cache(1)
def first_names() -> tuple[list[str], list[float]]:
    """First names and their cumulated weights."""
    names = _FIRST.split()
    return names, list(itertools.accumulate((rank + 10) ** -0.6 for rank in range(len(names))))


@lru_cache(1)
def towns() -> tuple[list[Town], list[float]]:
    """About 5,000 communes and their cumulated weights; Paris, Marseille and Lyon by arrondissement."""
    found: list[Town] = []
    for name, postcode, code, department, parts, thousands in _DIVIDED:
        for part in range(parts):
            label = f"{name} {part + 1}{'er' if part == 0 else 'e'} Arrondissement"
            found.append(Town(label, str(postcode + part), str(code + part), department, thousands / parts))
    for line in _BIG.split("|"):
        big = line.split(" ")
        found.append(Town(big[1].replace("_", " "), big[0], big[2], big[3].replace("_", " "), float(big[4])))
    departments = [line.split(" ") for line in _DEPARTMENTS.split("|")]
    forms = _VILLAGES.split(" ")
    for rank, word in enumerate(_tail()[-4_900:]):
        number, department = departments[rank % len(departments)]
        order = rank // len(departments)
        name = forms[(rank * 7) % len(forms)].format(word).replace("_", " ")
        postcode = f"{number}{(order % 99 + 1) * 10:03d}"
        weight = 60 * (order + 1) ** -0.7
        found.append(Town(name, postcode, f"{number}{order + 500:03d}", department.replace("_", " "), weight))
    return found, list(itertools.accumulate(town.weight for town in found))
